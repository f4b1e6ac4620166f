"""One schema for many Parquet files: types that differ only in width are widened, the rest is a fault of its
column."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from flowguard.tables.parquet import Footer

_FAULT = b"flowguard.fault"


def union_schema(footers: Sequence[Footer]) -> pa.Schema:
    """Every column of any file, in order of appearance.

    Dictionary-encoded columns are given as their values: codes differ from file to file and mean nothing.
    A column that a file lacks, or has with a type that cannot be widened to the others', carries the fault in
    its field: it matters only to those who need the column (`fault_of`).
    """
    if all(footer.schema.equals(footers[0].schema) for footer in footers):
        return pa.schema([field.with_type(_decoded(field.type)) for field in footers[0].schema])
    names = list(dict.fromkeys(name for footer in footers for name in footer.schema.names))
    return pa.schema([_union_field(name, footers) for name in names])


def fault_of(field: pa.Field) -> str | None:
    """Why a column cannot be read from every file, or None."""
    return (field.metadata or {}).get(_FAULT, b"").decode() or None


def _union_field(name: str, footers: Sequence[Footer]) -> pa.Field:
    lacking = [footer for footer in footers if name not in footer.schema.names]
    having = [footer for footer in footers if name in footer.schema.names]
    kind = _decoded(having[0].schema.field(name).type)
    fault = ""
    if lacking:
        more = f" and {len(lacking) - 1} other files" if len(lacking) > 1 else ""
        fault = f"{lacking[0].place.shown}{more} lacks it, {having[0].place.shown} has it"
    for footer in having[1:]:
        other = _decoded(footer.schema.field(name).type)
        wider = _widened(kind, other)
        if wider is None:
            fault = f"it is {kind} in {having[0].place.shown} and {other} in {footer.place.shown}"
            break
        kind = wider
    return pa.field(name, kind, metadata={_FAULT: fault.encode()} if fault else None)


def _widened(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one == other:
        return one
    if _is_text(one) and _is_text(other):
        return one if one == other else pa.large_string()
    if pa.types.is_binary(one) != pa.types.is_binary(other):
        return None if not (pa.types.is_null(one) or pa.types.is_null(other)) else _first_known(one, other)
    try:
        both = [pa.schema([pa.field("x", kind)]) for kind in (one, other)]
        return pa.unify_schemas(both, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return None


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _first_known(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    return other if pa.types.is_null(one) else one


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
