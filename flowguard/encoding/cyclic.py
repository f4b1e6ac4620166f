"""Cyclic columns: hour, weekday, season, as a point on a circle."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowguard.encoding.number import is_number, read_numbers, wrong_type
from flowguard.encoding.settings import CALENDAR
from flowguard.errors import SchemaError

Array = NDArray[np.float64]

_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86_400
_MONDAY = 3  # 1 January 1970 was a Thursday: weeks start three days before it


def read_phase(array: pa.Array, period: float | str, *, column: str) -> Array:
    """How far through its period each row is, in [0, 1); NaN where it is missing, infinite where infinite.

    A number is taken modulo `period`, a duration modulo that many seconds. A date, time or timestamp has the
    period "day", "week" (from Monday) or "year" (from 1 January, leap years counted), in the timestamp's own
    time zone. Raises `SchemaError` when the column's type has no such period.
    """
    kind = array.type
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan)
    if pa.types.is_dictionary(kind):
        array, kind = array.dictionary_decode(), kind.value_type
    if isinstance(period, str):
        return _calendar_phase(array, period, column=column)
    if pa.types.is_duration(kind):
        seconds = array.cast(pa.int64()).to_numpy(zero_copy_only=False) / _TICKS[kind.unit]
        return _modulo(np.asarray(seconds, dtype=np.float64), float(period))
    if not is_number(kind):
        raise wrong_type(column, kind, f"numbers, as its period is {period:g} (for dates: {', '.join(CALENDAR)})")
    return _modulo(read_numbers(array, column=column), float(period))


def _modulo(values: Array, period: float) -> Array:
    infinite = np.isinf(values)
    phase = np.mod(np.where(infinite, 0.0, values), period) / period
    phase[phase >= 1.0] = 0.0
    phase[infinite] = np.inf
    return phase


def _calendar_phase(array: pa.Array, period: str, *, column: str) -> Array:
    kind = array.type
    dated = pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    timed = pa.types.is_time(kind) or pa.types.is_timestamp(kind)
    if pa.types.is_duration(kind):
        dated, timed = period == "week", period == "day"
    if not (timed if period == "day" else dated):
        wanted = "a time or timestamp" if period == "day" else "a date or timestamp"
        raise wrong_type(
            column, kind, f"{wanted}, as its period is {period!r} (for numbers: give the period as a number)"
        )
    missing = np.asarray(array.is_null())
    ticks, unit = _ticks(array, column=column)
    if period == "year":
        phase = _year_phase(ticks, unit)
    else:
        length = _DAY * _TICKS[unit] * (7 if period == "week" else 1)
        offset = _MONDAY * _DAY * _TICKS[unit] if period == "week" and not pa.types.is_duration(kind) else 0
        phase = (np.mod(ticks, length) + offset) % length / length
    phase[missing] = np.nan
    return phase


def _ticks(array: pa.Array, *, column: str) -> tuple[NDArray[np.int64], str]:
    """Local time since 1970 (or since midnight) in whole units, 0 where missing, and the unit."""
    kind = array.type
    if pa.types.is_date32(kind):
        days = pc.fill_null(array.cast(pa.int32()), 0).to_numpy(zero_copy_only=False)
        return days.astype(np.int64) * _DAY, "s"
    if pa.types.is_timestamp(kind) and kind.tz not in (None, "UTC"):
        try:
            array = pc.local_timestamp(array)
        except pa.ArrowInvalid as error:
            raise SchemaError(
                f"column {column!r} is in time zone {kind.tz!r}, which cannot be read here: {error}"
            ) from None
    if pa.types.is_time32(kind):
        array = array.cast(pa.int32())
    unit = "ms" if pa.types.is_date64(kind) else kind.unit
    return pc.fill_null(array.cast(pa.int64()), 0).to_numpy(zero_copy_only=False), unit


def _year_phase(ticks: NDArray[np.int64], unit: str) -> Array:
    times = ticks.view(f"datetime64[{unit}]") if ticks.flags.c_contiguous else ticks.astype(f"datetime64[{unit}]")
    years = times.astype("datetime64[Y]")
    first = years.astype("datetime64[D]").astype(np.int64)
    length = (years + 1).astype("datetime64[D]").astype(np.int64) - first
    day = times.astype("datetime64[D]").astype(np.int64)
    within = np.mod(ticks, _DAY * _TICKS[unit]) / (_DAY * _TICKS[unit])
    return (day - first + within) / length
