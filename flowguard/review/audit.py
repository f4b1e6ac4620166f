"""The audit: a few unflagged records of each batch, drawn at random, that are reviewed beside the flagged ones.

What was not flagged is looked at by nobody, so that nobody would know what is missed. Of each batch a few unflagged
records are drawn by a hash: every process draws the same, nothing has to be stored, and neither the score nor the
person who looks has a say in it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from hashlib import blake2b

AUDITED = 5
"""So many records of each batch are drawn where nothing else is said."""


def place(pipeline: str, record_id: str) -> int:
    """Where a record stands in the draw of its pipeline: 64 bits, uniform over records.

    >>> place("meters", "00112233445566778899aabbccddeeff")
    16314182889409326695
    """
    return int.from_bytes(blake2b(f"audit\0{pipeline}\0{record_id}".encode(), digest_size=8).digest(), "big")


def audited(pipeline: str, unflagged: Iterable[str], size: int = AUDITED) -> tuple[str, ...]:
    """The ids of `size` of a batch's unflagged records, all of them where there are no more, first drawn first.

    Law: whatever the order of the records and in every process the same; every record of the batch is drawn with the
    probability `inclusion(size, count)`; a larger `size` adds records and drops none, and so does every beginning of
    the list stay a random sample. Memory: `size` records.

    >>> audited("meters", ["c", "a", "b"], 2) == audited("meters", ["a", "b", "c"], 2)
    True
    """
    if size < 0:
        raise ValueError(f"The size of an audit is 0 or more, not {size}.")
    drawn = heapq.nsmallest(size, ((place(pipeline, record_id), record_id) for record_id in unflagged))
    return tuple(record_id for _, record_id in drawn)


def inclusion(size: int, unflagged: int) -> float:
    """The probability with which each of a batch's `unflagged` records is drawn.

    >>> inclusion(5, 1000), inclusion(5, 3)
    (0.005, 1.0)
    """
    return 1.0 if unflagged <= size else size / unflagged
