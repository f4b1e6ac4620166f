"""What a column looks like, measured in one pass over a stream of record batches with bounded memory."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flowguard.tables.hashing import hash_column
from flowguard.tables.period import day_numbers, is_clock

_KEPT = 4096


@dataclass(frozen=True)
class Seen:
    """One column as it was seen: counts over `rows` records; `low` and `high` over its finite values."""

    name: str
    type: pa.DataType
    rows: int
    missing: int
    infinite: int
    distinct: int
    distinct_is_exact: bool
    low: Any
    high: Any
    mean: float | None
    common: Any
    common_share: float
    examples: tuple[str, ...]
    ascending: bool
    clocked: bool  # a timestamp with times other than midnight
    days: int  # from the first to the last day of a date or timestamp

    @property
    def missing_share(self) -> float:
        """Missing values as a share of the records; NaN is missing."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def known(self) -> int:
        """How many values are there."""
        return self.rows - self.missing


class ColumnMeter:
    """Measures one column batch by batch."""

    def __init__(self, name: str, kind: pa.DataType) -> None:
        self._name, self._type = name, kind
        self._rows = self._missing = self._infinite = self._common_count = 0
        self._smallest = np.zeros(0, dtype=np.uint64)
        self._low: Any = None
        self._high: Any = None
        self._sum = 0.0
        self._common: pa.Scalar | None = None
        self._examples: dict[str, None] = {}
        self._ascending = True
        self._last: Any = None
        self._clocked = False
        self._span: tuple[int, int] | None = None

    def update(self, array: pa.Array) -> None:
        """Take in the column's next values."""
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        kind = array.type
        self._rows += len(array)
        if pa.types.is_floating(kind):
            nan = pc.fill_null(pc.is_nan(array), False)
            array = pc.if_else(nan, pa.scalar(None, kind), array)
        known = array.drop_null()
        self._missing += len(array) - len(known)
        if len(known) == 0 or pa.types.is_nested(kind):
            return
        self._count_distinct(known)
        if pa.types.is_floating(kind):
            finite = known.filter(pc.is_finite(known))
            self._infinite += len(known) - len(finite)
            known = finite
        if len(known) == 0:
            return
        self._measure_range(known)
        self._count_common(known)
        if len(self._examples) < 3:
            for value in known.slice(0, 50).to_pylist():
                if len(self._examples) < 3:
                    self._examples.setdefault(str(value)[:40])
        if is_clock(kind):
            self._measure_days(known)

    def seen(self) -> Seen:
        """The measurements so far."""
        distinct, exact = self._distinct()
        numbers = self._rows - self._missing - self._infinite
        return Seen(
            name=self._name,
            type=self._type,
            rows=self._rows,
            missing=self._missing,
            infinite=self._infinite,
            distinct=distinct,
            distinct_is_exact=exact,
            low=self._low,
            high=self._high,
            mean=self._sum / numbers if numbers and _is_number(self._type) else None,
            common=self._common.as_py() if self._common is not None else None,
            common_share=self._common_count / self._rows if self._rows else 0.0,
            examples=tuple(self._examples),
            ascending=self._ascending and self._last is not None,
            clocked=self._clocked,
            days=self._span[1] - self._span[0] + 1 if self._span else 0,
        )

    def _count_distinct(self, known: pa.Array) -> None:
        # The k smallest hashes (Bar-Yossef et al. 2002): exact below k distinct values, within 2 % above.
        hashes = np.unique(np.concatenate([self._smallest, hash_column(known)[:, 0]]))
        self._smallest = hashes[:_KEPT]

    def _distinct(self) -> tuple[int, bool]:
        if len(self._smallest) < _KEPT:
            return len(self._smallest), True
        return round((_KEPT - 1) / ((float(self._smallest[-1]) + 1) / 2.0**64)), False

    def _measure_range(self, known: pa.Array) -> None:
        kind = known.type
        if pa.types.is_decimal(kind):
            known, kind = known.cast(pa.float64()), pa.float64()
        if not (_is_number(kind) or is_clock(kind)):
            return
        ends = pc.min_max(known)
        low, high = _plain(ends["min"]), _plain(ends["max"])
        if low is not None and high is not None:
            self._low = low if self._low is None else min(self._low, low)
            self._high = high if self._high is None else max(self._high, high)
        if _is_number(kind):
            self._sum += math.fsum(np.asarray(known.cast(pa.float64(), safe=False)))
            if pa.types.is_integer(kind) and self._ascending:
                values = np.asarray(known)
                self._ascending = bool((values[1:] >= values[:-1]).all())
                self._ascending &= self._last is None or bool(values[0] >= self._last)
                self._last = values[-1]

    def _count_common(self, known: pa.Array) -> None:
        if pa.types.is_duration(known.type) or pa.types.is_interval(known.type):
            return
        if self._common is None:
            # The commonest value of the first piece stands for the commonest of all: it is shown, nothing
            # depends on it.
            counts = pc.value_counts(known)
            self._common = counts.field(0)[int(np.argmax(np.asarray(counts.field(1))))]
        self._common_count += int(pc.sum(pc.equal(known, self._common)).as_py() or 0)

    def _measure_days(self, known: pa.Array) -> None:
        numbers, _ = day_numbers(known)
        first, last = int(numbers.min()), int(numbers.max())
        if self._span:
            first, last = min(first, self._span[0]), max(last, self._span[1])
        self._span = (first, last)
        if pa.types.is_timestamp(known.type) and not self._clocked:
            ticks = np.asarray(known.cast(pa.int64()))
            per_day = 86_400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[known.type.unit]
            self._clocked = bool((ticks % per_day != 0).any())


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _plain(scalar: pa.Scalar) -> Any:
    try:
        value = scalar.as_py()
    except (ValueError, OverflowError):
        return None  # a date beyond Python's years
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    return value
