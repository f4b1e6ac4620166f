"""Records as a server or a CSV reader hands them over, brought to the types that a version declares.

JSON has no times, CSV no types at all, and pandas turns integers with a missing value into floating point.
Whatever says the same thing is accepted; a value of another kind raises `SchemaError` with its column, row
and text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from flowguard.errors import SchemaError

_EXACT = 2**53  # beyond it a double does not hold every integer


def as_declared(
    frame: pd.DataFrame,
    columns: Mapping[str, str],
    *,
    key: Collection[str] = (),
    redact: Collection[str] = (),
) -> pd.DataFrame:
    """The columns of `frame` that `columns` (name -> Arrow type as text) declares, in that order, of those
    types.

    The columns in `key` are kept as they are where they are there. Missing values stay missing. Raises
    `SchemaError` for an absent column and for a value of another kind (not quoted where its column is in
    `redact`).

    >>> frame = pd.DataFrame({"air_time": [65, 70], "extra": [1, 2]})
    >>> as_declared(frame, {"air_time": "double"})["air_time"].tolist()
    [65.0, 70.0]
    """
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise SchemaError(
            f"The records lack the column {', '.join(absent)}. This version reads {', '.join(columns)}; "
            "send every one, with null where a value is missing."
        )
    arrived: dict[str, pd.Series] = {}
    for name, text in columns.items():
        try:
            arrived[name] = _column(frame[name], text)
        except _Misfit as misfit:
            raise misfit.told(frame[name], name, text, hidden=name in redact) from None
    arrived |= {name: frame[name] for name in key if name in frame.columns and name not in columns}
    return pd.DataFrame(arrived, index=frame.index)


class _Misfit(Exception):
    """Which rows of a column are of another kind."""

    def __init__(self, broken: pd.Series, advice: str = "Send one of that type, or null where it is missing."):
        self.row = int(np.flatnonzero(broken.to_numpy())[0])
        self.advice = advice

    def told(self, values: pd.Series, name: str, text: str, *, hidden: bool) -> SchemaError:
        found = "a value of another kind (redacted)" if hidden else repr(values.tolist()[self.row])
        return SchemaError(
            f"Column {name}, record {self.row + 1}: found {found}, where this version expects {text}. {self.advice}"
        )


def _column(values: pd.Series, text: str) -> pd.Series:
    if text in ("double", "float", "halffloat") or text.startswith("decimal"):
        return _numbers(values).astype("float64")
    if re.fullmatch(r"u?int\d+", text):
        return _integers(values)
    if text == "bool":
        return _booleans(values)
    if text.startswith(("timestamp", "date")):
        return _times(values, text)
    if "string" in text:  # also large_string and dictionary<values=string, ...>
        return _texts(values)
    return values


def _numbers(values: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        return values
    numbers = pd.to_numeric(values.astype(object).where(~_are(values, bool, np.bool_)), errors="coerce")
    lost = numbers.isna() & values.notna()
    if lost.any():
        raise _Misfit(lost)
    return numbers


def _integers(values: pd.Series) -> pd.Series:
    numbers = _numbers(values)
    if pd.api.types.is_integer_dtype(numbers.dtype):
        return numbers
    numbers = numbers.astype("float64")
    broken = ((numbers != np.floor(numbers)) | (numbers.abs() > _EXACT)) & numbers.notna()
    if broken.any():
        raise _Misfit(broken)
    return numbers.astype("Int64")


def _booleans(values: pd.Series) -> pd.Series:
    broken = ~_are(values, bool, np.bool_) & values.notna()
    if broken.any():
        raise _Misfit(broken)
    return values.astype(object).where(values.notna(), None)


def _texts(values: pd.Series) -> pd.Series:
    broken = ~_are(values, str) & values.notna()
    if broken.any():
        # Turning the number back into text would not bring back the zeros that a CSV reader dropped: 02134.
        raise _Misfit(broken, "Send it as text. A CSV reader makes numbers of digits: send JSON then.")
    return values.astype(object).where(values.notna(), None)


def _times(values: pd.Series, text: str) -> pd.Series:
    zoned = "tz=" in text
    present = values.notna()
    times = [
        _time(value, zoned=zoned) if there else pd.NaT
        for value, there in zip(values.astype(object), present, strict=True)
    ]
    lost = pd.Series([time is None for time in times], index=values.index, dtype=bool)
    if lost.any():
        raise _Misfit(
            lost,
            "Send it as text, such as 2013-07-22T18:00:00Z."
            if zoned
            else "Send it as text without a time zone, such as 2013-07-22T18:00:00.",
        )
    parsed = pd.Series(times, index=values.index, dtype="datetime64[us, UTC]" if zoned else "datetime64[us]")
    return parsed.dt.date.astype(object).where(present, None) if text.startswith("date") else parsed


def _time(value: object, *, zoned: bool) -> pd.Timestamp | None:
    """One time, or None where it is not one. Where a zone is declared none means UTC, else one is refused."""
    if isinstance(value, int | float | np.number):
        return None  # a number says neither its unit nor its epoch
    try:
        time = pd.Timestamp(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None
    if zoned:
        return time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")
    return time if time.tzinfo is None else None


def _are(values: pd.Series, *types: type) -> pd.Series:
    return pd.Series([isinstance(value, types) for value in values], index=values.index, dtype=bool)
