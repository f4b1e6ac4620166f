"""Split-conformal p-values: a record's rank among held-out records that were never trained on.

Vovk, Gammerman & Shafer, "Algorithmic Learning in a Random World" (2005); Papadopoulos et al., ECML 2002.
When the record is exchangeable with the n reference records, P(p_value <= a) <= a for every a, in finite
samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def p_value(reference: Array, score: Array, *, key: Iterable[object] | None = None, salt: str = "") -> Array:
    """(1 + number of reference scores >= score) / (n + 1); `reference` (n,) sorted, `score` (m,).

    Higher = stranger. Ties count against the record, so p-values stay valid. NaN scores raise ValueError:
    they have no rank. With `key`, the ids of the records, ties are broken at random instead, see
    `smoothed_p_value` and `uniform_of`.

    >>> p_value(np.array([1.0, 2.0, 2.0]), np.array([0.0, 2.0, 3.0])).tolist()
    [1.0, 0.75, 0.25]
    """
    if key is not None:
        return smoothed_p_value(reference, score, uniform_of(key, salt))
    score = _ranked(score)
    n = len(reference)
    return (1 + n - np.searchsorted(reference, score, side="left")) / (n + 1)


def smoothed_p_value(reference: Array, score: Array, u: ArrayLike) -> Array:
    """(number of reference scores > score + u (1 + number equal)) / (n + 1), with `u` (m,) in (0, 1).

    With u uniform and independent of the scores, P(p_value <= a) = a exactly for an ordinary record (Vovk et al.
    2005, 2.2), however many scores tie; it is never above `p_value`. A record beyond all others gets u / (n + 1), so
    what lies below 1 / (n + 1) is a lot and no evidence. Label it for a policy: PValues(values, "smoothed").

    >>> smoothed_p_value(np.array([1.0, 2.0, 2.0]), np.array([0.0, 2.0, 3.0]), [0.5, 0.5, 0.5]).tolist()
    [0.875, 0.375, 0.125]
    """
    score, lot = _ranked(score), np.asarray(u, dtype=np.float64)
    if lot.shape != score.shape:
        raise ValueError(f"{len(score)} scores but random numbers of shape {lot.shape}")
    if not ((lot > 0) & (lot < 1)).all():
        raise ValueError("random numbers that break ties lie strictly between 0 and 1")
    n = len(reference)
    at_most = np.searchsorted(reference, score, side="right")
    equal = at_most - np.searchsorted(reference, score, side="left")
    return (n - at_most + lot * (1 + equal)) / (n + 1)


def uniform_of(record_ids: Iterable[object], salt: str = "") -> Array:
    """A number in (0, 1) for each record id (m,), the same on every machine and in every order: a hash of its text.

    `salt` (the version, say) gives other numbers to the same ids. The ids must not depend on the scores.

    >>> uniform_of(["a", "b"]).round(3).tolist() == uniform_of(["b", "a"])[::-1].round(3).tolist()
    True
    """
    key = blake2b(salt.encode()).digest()
    digests = b"".join(blake2b(str(record).encode(), digest_size=8, key=key).digest() for record in record_ids)
    # 53 bits, in the middle of their step: never 0, never 1.
    return ((np.frombuffer(digests, dtype="<u8") >> np.uint64(11)) + 0.5) / 2**53


def smallest_level(n: int) -> float:
    """The smallest p-value that `n` reference records can give, 1 / (n + 1)."""
    return 1 / (n + 1)


def size_needed(level: float) -> int:
    """The fewest reference records whose smallest p-value reaches `level`, 0 < level < 1.

    >>> size_needed(0.001)
    999
    """
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, not {level}")
    n = max(1, math.ceil(1 / level) - 2)
    while smallest_level(n) > level:
        n += 1
    return n


def _ranked(score: ArrayLike) -> Array:
    score = np.asarray(score, dtype=np.float64)
    if np.isnan(score).any():
        raise ValueError("a score is NaN and has no p-value")
    return score
