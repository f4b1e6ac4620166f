"""Columns that are not in the files but in the names of their folders: day=2026-11-01."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from flowguard.tables.location import Place

_NULL = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"^-?\d{1,18}$")
_DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")


def partition_columns(places: Sequence[Place]) -> dict[str, tuple[pa.DataType, list[pa.Scalar]]]:
    """Each partition column with its type and its value in every file.

    A column is whole numbers or dates when all its values look so, else text; a file outside the partition
    has null.
    """
    values = [dict(place.partition) for place in places]
    names = dict.fromkeys(name for partition in values for name in partition)
    found: dict[str, tuple[pa.DataType, list[pa.Scalar]]] = {}
    for name in names:
        texts = [partition.get(name) for partition in values]
        parsed: list[Any]
        texts = [None if text == _NULL else text for text in texts]
        given = [text for text in texts if text is not None]
        if given and all(_WHOLE.match(text) for text in given):
            kind = pa.int64()
            parsed = [None if text is None else int(text) for text in texts]
        elif given and all(_is_day(text) for text in given):
            kind = pa.date32()
            parsed = [None if text is None else dt.date.fromisoformat(text) for text in texts]
        else:
            kind, parsed = pa.string(), texts
        found[name] = (kind, [pa.scalar(value, kind) for value in parsed])
    return found


def _is_day(text: str) -> bool:
    if not _DAY.match(text):
        return False
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True
