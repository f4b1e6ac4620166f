"""The text of a drafted pipeline file: every choice with what was seen of its column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from flowguard.spec.source import OUTPUT_COLUMNS
from flowguard.tables import ColumnProfile

_PLAIN = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


@dataclass(frozen=True)
class Entry:
    """One line of the `columns` section."""

    section: Literal["features", "context"]
    name: str
    settings: dict[str, Any]
    comment: str = ""


@dataclass(frozen=True)
class Draft:
    """Everything the text is made of."""

    name: str
    data: str
    described: str
    rows: int
    columns: Sequence[ColumnProfile]
    entries: Sequence[Entry]
    batch: str
    level: float
    out: str
    seen: int = field(init=False)

    def __post_init__(self) -> None:
        seen = max((column.seen.rows for column in self.columns if column.seen is not None), default=0)
        object.__setattr__(self, "seen", seen)


_ORDER = {"category": 0, "boolean": 0, "integer": 1, "number": 2}


def entries_of(columns: Sequence[ColumnProfile], *, time: str | None = None) -> list[Entry]:
    """Features and context as the profile suggests them; `time` names the time column where it is known.

    Features: categories and booleans, then integers, then numbers, each in the table's order, so that a number is
    explained given what kind of record it belongs to.
    """
    features = [column for column in columns if column.role == "feature" and column.name != time]
    features.sort(key=lambda column: _ORDER[column.kind])
    entries = [Entry("features", column.name, {"kind": column.kind}, _described(column)) for column in features]
    for column in columns:
        if column.role == "context" and column.name != time:
            period = {} if column.period is None else {"period": column.period}
            entries.append(Entry("context", column.name, {"kind": column.kind, **period}, _described(column)))
    clock = next((c for c in columns if c.name == time or (time is None and c.role == "time")), None)
    if clock is not None and clock.seen is not None and clock.kind == "clock":
        taken = {column.name for column in columns}
        if clock.seen.clocked:
            entries.append(_cyclic(clock.name, "hour", "day", "time of day", taken))
        if clock.seen.days >= 14:
            entries.append(_cyclic(clock.name, "weekday", "week", "day of the week", taken))
    return entries


def text_of(draft: Draft) -> str:
    """The pipeline file."""
    sampled = "" if draft.seen >= draft.rows else f" The figures below are from {draft.seen:,} of them."
    lines = [
        f"# Drafted by `flowguard init` from {_line(draft.described)}: {draft.rows:,} records, "
        f"{len(draft.columns)} columns.{sampled}",
        "# It works as it stands. Read the comments, correct what a machine cannot know, then:",
        f"#   flowguard check {draft.out}",
        f"#   flowguard train {draft.out}",
        f"name: {_quoted(draft.name)}",
        'description: ""',
        "",
        "source:",
        f"  path: {_quoted(draft.data)}",
        *_source_lines(draft),
        "",
        "columns:",
        "  # What is modelled. A column is explained given the ones above it: put causes before effects.",
        *_kinds(draft.entries),
        "  features:",
        *[_entry_line(entry) for entry in draft.entries if entry.section == "features"],
    ]
    context = [entry for entry in draft.entries if entry.section == "context"]
    if context:
        lines += ["  # What the features depend on and what is not judged itself.", "  context:"]
        lines += [_entry_line(entry) for entry in context]
    left_out = [column for column in draft.columns if column.role == "skip"]
    if left_out:
        lines.append("  # Left out:")
        lines += [f"  #   {_line(_quoted(column.name))}: {_line(column.why)}" for column in left_out]
    lines += [
        "",
        "split:",
        "  # until: 2026-01-01   # only records before this day are used to fit; needs source.time",
        "  # unit: [customer]    # columns whose values stay on one side; default: the key, else each record",
        "  train: 0.6",
        "  validation: 0.06",
        "  calibration: 0.17",
        "  holdout: 0.17",
        "",
        "model:",
        "  family: maf",
        "  order: single         # one column order: reasons are exact sums over columns",
        "",
        "policy:",
        f"  false_alarm_rate: {draft.level:g}  # share of ordinary records that may be flagged",
        "",
    ]
    return "\n".join(lines)


def _kinds(entries: Sequence[Entry]) -> list[str]:
    """What the kinds that were suggested mean, and when another choice is better."""
    kinds = {entry.settings["kind"] for entry in entries if entry.section == "features"}
    lines = []
    if "integer" in kinds:
        lines.append(
            "  # An integer has a probability for each value, a number a density: call amounts and times numbers."
        )
    if kinds & {"category", "boolean"}:
        lines += [
            "  # A category or boolean whose rare values are nothing odd (site, product) is better moved to context:",
            "  # the other columns are then judged given it, and it is not judged itself.",
        ]
    return lines


def _source_lines(draft: Draft) -> list[str]:
    lines = []
    why = {
        "day": "the records of each day are scored together",
        "partition": "the files of each folder column=value are scored together",
        "file": "the records of each file are scored together",
    }
    lines.append(f"  batch: {draft.batch}  # {why[draft.batch]}")
    clock = next((column for column in draft.columns if column.role == "time"), None)
    if clock is not None:
        lines.append(f"  time: {_quoted(clock.name)}  # {_described(clock)}")
    else:
        lines.append("  # time: no date or timestamp column was found")
    key = next((column for column in draft.columns if column.role == "key"), None)
    if key is not None and key.name in OUTPUT_COLUMNS:
        lines.append(f"  # key: {key.name} is unique, but the output has a column of that name; rename it to use it")
    elif key is not None:
        lines.append(f"  key: [{_quoted(key.name)}]  # unique in all {draft.rows:,} records")
    else:
        lines.append("  # key: no single column is unique; without a key a record is known by its content")
    lines.append("  redact: []  # columns whose values must not reach logs, reports or MLflow")
    return lines


def _cyclic(column: str, part: str, period: str, comment: str, taken: set[str]) -> Entry:
    name = f"{column}_{part}"
    while name in taken:
        name += "_"
    return Entry("context", name, {"kind": "cyclic", "column": column, "period": period}, comment)


def _entry_line(entry: Entry) -> str:
    settings = entry.settings
    if set(settings) == {"kind"}:
        value = str(settings["kind"])
    else:
        value = "{" + ", ".join(f"{key}: {_scalar(setting)}" for key, setting in settings.items()) + "}"
    comment = f"  # {_line(entry.comment)}" if entry.comment else ""
    return f"    {_quoted(entry.name)}: {value}{comment}"


def _described(column: ColumnProfile) -> str:
    """What was seen of a column, in a line."""
    seen = column.seen
    if seen is None:
        return ""
    words = []
    if column.kind in ("number", "integer", "clock") or column.role == "time":
        if seen.low is not None:
            words.append(f"{_number(seen.low)} to {_number(seen.high)}")
        if seen.mean is not None:
            words.append(f"mean {_number(seen.mean)}")
    about = "" if seen.distinct_is_exact else "about "
    if column.kind not in ("clock", "boolean"):
        words.append(f"{about}{seen.distinct:,} different")
    if column.kind == "category":
        words.append("such as " + ", ".join(seen.examples))
    if column.kind == "boolean" or (column.kind in ("number", "integer") and seen.common_share >= 0.2):
        words.append(f"{_number(seen.common)} in {seen.common_share:.0%}")
    if seen.missing:
        words.append(f"{seen.missing_share:.1%} missing")
    if seen.infinite:
        words.append(f"{seen.infinite:,} infinite, whose records cannot be scored")
    if column.why:
        words.append(column.why)
    return _line("; ".join(words))


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scalar(value: object) -> str:
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """A YAML scalar that reads back as this text."""
    if _PLAIN.match(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '\\"':
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08X}"


def _line(text: str) -> str:
    """Text for a comment: one line, nothing unprintable, not too long."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean if len(clean) <= 160 else clean[:157] + "..."
