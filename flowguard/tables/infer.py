"""What each column of an unknown table could be for: feature, context, key, time, or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from flowguard.errors import SourceError
from flowguard.tables.identity import RecordIds
from flowguard.tables.period import is_clock
from flowguard.tables.profile import ColumnMeter, Seen
from flowguard.tables.source import Source
from flowguard.tables.union import fault_of

Role = Literal["feature", "context", "key", "time", "skip"]

_IDENTIFIER = re.compile(
    r"(?:^|[_\s.-])(?:id|uuid|guid|key|no|nr|num|number|ref|index|idx|rowid|serial)$|[a-z](?:Id|ID|No|Nr)$",
    re.I,
)
_CODE = re.compile(r"(?:^|[_\s.-])(?:code|status|type|kind|class|category|group|zip|zipcode|postcode|port)$", re.I)
_CLOCK_NAME = re.compile(r"time|date|stamp|created|updated|day|when|(?:^|_)(?:ts|at|on)$", re.I)
_MOST_LEVELS = 1000
_MOST_VALUES = 10_000_000
_FEW_LEVELS = 10
_REPEATS = 20
_WIDEST = 2**20
_PER_VALUE = 5
# Parts of a calendar that come as whole numbers, with the period after which they repeat.
_CALENDAR = [
    (re.compile(r"(?:^|[_.\s-])hour$", re.I), 0, 24, 24),
    (re.compile(r"(?:^|[_.\s-])(?:minute|second)$", re.I), 0, 60, 60),
    (re.compile(r"(?:^|[_.\s-])(?:day|dayofmonth|day_of_month|mday)$", re.I), 1, 31, 31),
    (re.compile(r"(?:^|[_.\s-])month$", re.I), 1, 12, 12),
    (re.compile(r"(?:^|[_.\s-])quarter$", re.I), 1, 4, 4),
    (re.compile(r"(?:^|[_.\s-])(?:weekday|dow|dayofweek|day_of_week|wday)$", re.I), 0, 7, 7),
]
_YEAR = re.compile(r"(?:^|[_.\s-])year$", re.I)
_NEARLY_ALL = 0.95
_MOST_CHECKED = 20_000_000


@dataclass(frozen=True)
class ColumnProfile:
    """A column as seen, with a suggestion: its role, the kind it would have there, and why."""

    seen: Seen | None  # None where the column cannot be read
    name: str
    type: pa.DataType
    role: Role
    kind: str  # number, integer, category, boolean, cyclic, clock; identifier or "" for skip
    why: str
    period: int | None = None  # of a cyclic one


def profile(source: Source, *, rows: int = 200_000) -> list[ColumnProfile]:
    """Each column of a source, in order, with a suggestion; from one pass over about `rows` records.

    Of wide tables fewer records are looked at, so that it is about ten million values in all.

    What a table holds is a feature unless it is clearly only a condition: a part of the calendar, or a value that
    stands in the names of folders. Floats and decimals are numbers, booleans booleans, text a category. Whole numbers
    are a category when there are at most 10 of them and each is met 20 times on average, or when the column's name
    says that they are codes or number things; else an integer when they span at most 2^20 and each is met 5 times on
    average, as counts are; else a number, as measurements are.

    At most one column is suggested as time, at most one as key, and that only when its values are unique in
    the whole source. Raises `SourceError` when the source is empty.
    """
    schema = source.schema()
    faults = {field.name: fault_of(field) for field in schema}
    readable = [name for name in schema.names if not faults[name]]
    meters = [ColumnMeter(name, schema.field(name).type) for name in readable]
    rows = max(2_000, min(rows, _MOST_VALUES // max(1, len(readable))))
    count = 0
    for batch in source.sample(rows, readable):
        count += batch.num_rows
        for meter, column in zip(meters, batch.columns, strict=True):
            meter.update(column)
    if count == 0:
        raise SourceError(f"{source.describe()} is empty: no record in it. Expected at least one.")
    found = {seen.name: _suggest(seen, in_names=seen.name in source.in_names) for seen in (m.seen() for m in meters)}
    for name in schema.names:
        if faults[name]:
            why = f"cannot be read from every file: {faults[name]}"
            found[name] = ColumnProfile(None, name, schema.field(name).type, "skip", "", why)
    columns = [found[name] for name in schema.names]
    return _with_key(_with_time(columns), source)


def identifies(source: Source, columns: Sequence[str]) -> bool:
    """Whether no two records of a source share their values of these columns. Reads only these columns."""
    ids = RecordIds(columns)
    return not any(ids.repeats(batch) for batch in source.read(list(columns)))


def _suggest(seen: Seen, *, in_names: bool) -> ColumnProfile:
    role, kind, why = _role(seen)
    if role == "feature" and isinstance(seen.low, int | float):
        # Whole numbers come as floats where some are missing: no more of them than the calendar has.
        for name, low, high, period in _CALENDAR:
            if name.search(seen.name) and low <= seen.low and seen.high <= high and seen.distinct <= high - low + 1:
                return ColumnProfile(seen, seen.name, seen.type, "context", "cyclic", "", period)
        if _YEAR.search(seen.name) and seen.low >= 1000 and seen.high < 3000 and seen.distinct <= 2000:
            return ColumnProfile(seen, seen.name, seen.type, "context", "number", "part of a date")
    if role == "feature" and in_names:
        role, why = "context", "it names folders: all records of a file have the same"
    return ColumnProfile(seen, seen.name, seen.type, role, kind, why)


def _role(seen: Seen) -> tuple[Role, str, str]:
    kind = seen.type.value_type if pa.types.is_dictionary(seen.type) else seen.type
    if not seen.name:
        return "skip", "", "it has no name; give it one where the file is written"
    if seen.known == 0 or pa.types.is_null(kind):
        return "skip", "", "it is always missing"
    if pa.types.is_nested(kind):
        return "skip", "", f"it holds nested values ({_short(kind)}); a query can take columns out of it"
    if pa.types.is_duration(kind) or pa.types.is_time(kind) or pa.types.is_interval(kind):
        return "skip", "", f"it is a {_short(kind)}; a query can turn it into a number"
    if is_clock(kind):
        return (
            "skip",
            "clock",
            "it is another date or time; a query can turn it into a number, or make it cyclic context",
        )
    if _is_binary(kind):
        return "skip", "", "it holds raw bytes"
    if seen.missing_share > _NEARLY_ALL:
        return "skip", "", f"it is nearly always missing ({seen.missing_share:.1%})"
    if seen.distinct == 1:
        return "skip", "", "it is constant"
    if pa.types.is_boolean(kind):
        return "feature", "boolean", ""
    if pa.types.is_integer(kind):
        return _whole_number(seen)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "feature", "number", "modelled as a category, as there are two values only" if seen.distinct == 2 else ""
    return _text(seen)


def _whole_number(seen: Seen) -> tuple[Role, str, str]:
    nearly_unique = seen.distinct >= _NEARLY_ALL * seen.known
    if nearly_unique and (_IDENTIFIER.search(seen.name) or seen.ascending or seen.high - seen.low > 2**40):
        return "skip", "identifier", "nearly every record has its own value: it tells records apart"
    if _IDENTIFIER.search(seen.name) and seen.distinct > _MOST_LEVELS:
        return (
            "skip",
            "",
            "it numbers things: as a number it means nothing, and it has too many values to be a category",
        )
    codes = _IDENTIFIER.search(seen.name) or _CODE.search(seen.name)
    if codes and seen.distinct <= min(_MOST_LEVELS, seen.known / 2):
        return "feature", "category", "codes, by its name"
    return "feature", *whole_kind(seen)


def whole_kind(seen: Seen) -> tuple[Literal["category", "integer", "number"], str]:
    """What kind of feature whole numbers are, by how they repeat, and why; the rule that `profile` tells."""
    if seen.distinct <= _FEW_LEVELS and seen.known >= _REPEATS * seen.distinct:
        return "category", "few whole values"
    if seen.high - seen.low > _WIDEST:
        return "number", f"whole, but more than {_WIDEST:,} apart"
    if seen.known < _PER_VALUE * seen.distinct:
        return "number", "whole, but few records share a value"
    return "integer", ""


def _text(seen: Seen) -> tuple[Role, str, str]:
    if seen.distinct >= _NEARLY_ALL * seen.known:
        return "skip", "identifier", "nearly every record has its own value: it tells records apart"
    if seen.distinct > _MOST_LEVELS:
        return "skip", "", f"it has more than {_MOST_LEVELS:,} different values"
    if seen.distinct > seen.known / 2:
        return "skip", "", "most values occur only once"
    return "feature", "category", ""


def _with_time(columns: list[ColumnProfile]) -> list[ColumnProfile]:
    clocks = [column for column in columns if column.kind == "clock" and column.seen is not None]
    if not clocks:
        return columns

    def merit(column: ColumnProfile) -> tuple[bool, bool, float]:
        assert column.seen is not None
        return (column.seen.days > 1, bool(_CLOCK_NAME.search(column.name)), -column.seen.missing_share)

    best = max(clocks, key=merit)  # the first of equals
    return [replace(c, role="time", why="") if c is best else c for c in columns]


def _with_key(columns: list[ColumnProfile], source: Source) -> list[ColumnProfile]:
    candidates = [
        column
        for column in columns
        if column.kind == "identifier" and column.seen is not None and column.seen.missing == 0
    ]
    candidates.sort(key=lambda column: not _IDENTIFIER.search(column.name))
    key = None
    if sum(batch.rows for batch in source.batches()) <= _MOST_CHECKED:
        key = next((column for column in candidates if identifies(source, [column.name])), None)
    return [replace(c, role="key", why="") if c is key else c for c in columns]


def _is_binary(kind: pa.DataType) -> bool:
    tests: Iterable = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
        pa.types.is_binary_view,
    )
    return any(test(kind) for test in tests) or isinstance(kind, pa.BaseExtensionType)


def _short(kind: pa.DataType) -> str:
    text = str(kind)
    return text if len(text) <= 40 else text[:37] + "..."
