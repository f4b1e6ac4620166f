"""Days of a time column: which of them are wanted, and which records fall on them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowguard.errors import SourceError

EPOCH = dt.date(1970, 1, 1).toordinal()
UNDATED = "undated"  # the batch of records whose time is missing: they are scored too


@dataclass(frozen=True)
class Days:
    """The days [since, until) without the excluded periods; or, if `undated`, the records without a day."""

    since: dt.date | None = None
    until: dt.date | None = None
    exclude: tuple[tuple[dt.date, dt.date], ...] = ()
    undated: bool = False

    @property
    def everything(self) -> bool:
        """Whether no record is left out."""
        return self.since is None and self.until is None and not self.exclude and not self.undated

    def mask(self, column: pa.Array) -> np.ndarray:
        """True where a record's day is wanted. Without a day it is wanted only if no `since` or `until` is
        set."""
        days, known = day_numbers(column)
        if self.undated:
            return ~known
        keep = np.ones(len(days), dtype=bool)
        if self.since is not None:
            keep &= known & (days >= _number(self.since))
        if self.until is not None:
            keep &= known & (days < _number(self.until))
        for first, last in self.exclude:
            keep &= ~(known & (days >= _number(first)) & (days < _number(last)))
        return keep


def days_of(
    *,
    batch: str | None,
    since: dt.date | None,
    until: dt.date | None,
    exclude: Sequence[tuple[dt.date, dt.date]],
) -> Days:
    """The days of one daily batch (or of all), within [since, until) and outside `exclude`."""
    if batch is None:
        return Days(since, until, tuple(exclude))
    if batch == UNDATED:
        return Days(undated=True)
    day = parse_day(batch)
    first = day if since is None else max(day, since)
    after = day + dt.timedelta(1)
    return Days(first, after if until is None else min(after, until), tuple(exclude))


def parse_day(text: str) -> dt.date:
    """The day a daily batch is named by."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise SourceError(f"There is no batch {text!r}: batches are days, such as 2013-05-25.") from None


def day_numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970-01-01 of a date or timestamp column, and which are known.

    A timestamp with a time zone counts by the calendar of that zone, one without by its own.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        # UTC needs no time zone database, which slim machines lack.
        utc = kind.tz.upper() in ("UTC", "Z", "ETC/UTC", "GMT", "+00:00")
        column = column.cast(pa.timestamp(kind.unit)) if utc else pc.local_timestamp(column)
    known = np.asarray(column.is_valid())
    numbers = column.cast(pa.date32(), safe=False).cast(pa.int32()).fill_null(0)
    return np.asarray(numbers).astype(np.int64), known


def day_of(number: int) -> dt.date:
    """The date of a day number."""
    return dt.date(1970, 1, 1) + dt.timedelta(int(number))


def is_clock(kind: pa.DataType) -> bool:
    """Whether a column of this type has days."""
    return pa.types.is_date(kind) or pa.types.is_timestamp(kind)


def _number(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days
