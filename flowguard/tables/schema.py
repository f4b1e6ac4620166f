"""Do the columns that are needed exist, with types that can serve?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from flowguard.errors import SchemaError
from flowguard.tables.period import is_clock
from flowguard.tables.union import fault_of


@dataclass(frozen=True)
class Wanted:
    """A column that is needed: the kinds it must serve as, and who needs it (keys of the pipeline file)."""

    kinds: tuple[str, ...]
    uses: tuple[str, ...] = ()

    @classmethod
    def gather(cls, uses: Iterable[tuple[str, str, str]]) -> dict[str, Wanted]:
        """From (column, kind, use) triples, such as `Pipeline.uses()`, one entry per column."""
        found: dict[str, Wanted] = {}
        for column, kind, use in uses:
            before = found.get(column, cls(()))
            found[column] = cls((*before.kinds, kind), (*before.uses, use))
        return found


def check_columns(schema: pa.Schema, wanted: Mapping[str, Wanted], *, where: str) -> None:
    """Raise one `SchemaError` with every wanted column that is missing or of an unfit type; `where` names the
    data."""
    problems = []
    for column, want in wanted.items():
        uses = f" (needed by {', '.join(want.uses)})" if want.uses else ""
        if column not in schema.names:
            near = difflib.get_close_matches(column, schema.names, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {_listed(schema.names)}."
            problems.append(f"column {column!r}{uses} is missing; {hint}")
            continue
        field = schema.field(column)
        fault = fault_of(field)
        if fault:
            problems.append(f"column {column!r}{uses} cannot be read from every file: {fault}.")
            continue
        for kind in dict.fromkeys(want.kinds):
            if not serves(field.type, kind):
                problems.append(f"column {column!r}{uses} is {field.type}; expected {_WORDS[kind]}.")
    if len(problems) == 1:
        raise SchemaError(f"{where}: {problems[0]}")
    if problems:
        raise SchemaError("\n".join([f"{where} does not fit in {len(problems)} ways:", *problems]))


def serves(kind: pa.DataType, wanted: str) -> bool:
    """Whether a column of an Arrow type can be used as number, integer, boolean, category, clock, key or any.

    >>> serves(pa.int32(), "number"), serves(pa.string(), "number")
    (True, False)
    """
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if wanted == "any":
        return True
    if pa.types.is_null(kind):
        return True  # a column that is missing throughout is missing values, not a wrong type
    whole, text = pa.types.is_integer(kind), _is_text(kind)
    number = whole or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    match wanted:
        case "number":
            return number
        case "integer":
            # A whole number arrives as a float when some are missing (pandas), as a decimal from a SQL sum.
            return number
        case "boolean":
            return pa.types.is_boolean(kind)
        case "category":
            return whole or text or pa.types.is_boolean(kind)
        case "clock":
            return is_clock(kind)
        case "key":
            return not pa.types.is_nested(kind)
    raise ValueError(f"unknown kind {wanted!r}")


_WORDS = {
    "number": "numbers",
    "integer": "whole numbers",
    "boolean": "true or false",
    "category": "text, whole numbers or booleans",
    "clock": "a date or a timestamp",
    "key": "plain values, no lists or structs",
    "any": "anything",
}


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 40 else f"{len(names)} columns, the first {', '.join(names[:20])}"
