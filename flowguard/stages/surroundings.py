"""Surroundings: the context of flagged records and of others of their batches, read again from the source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowguard.detector import Detector
from flowguard.encoding.context import BooleanContext, CyclicContext, NumericContext
from flowguard.errors import SchemaError, SourceError
from flowguard.explain.setting import Column, Settings
from flowguard.explain.words import MISSING
from flowguard.stages.flagged import Flagged
from flowguard.stages.manifest import Manifest
from flowguard.stages.progress import work
from flowguard.tables import RecordIds, Source

#: So many records of each batch, not flagged, stand for all of them.
OTHERS = 500
#: Longer text is cut: levels are compared by what they begin with.
LONGEST = 80
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Read:
    """How one column is read: values of a raw column as text or as numbers; numbers on a circle have a period."""

    name: str
    column: str
    values: Callable[[pa.Array], NDArray[Any]]
    text: bool
    period: float | None = None


@dataclass(frozen=True)
class Surroundings:
    """Flagged records as the source has them, and their `settings`, None where it has none of their batches."""

    settings: Settings | None
    tables: Mapping[str, pa.Table]
    rows: Mapping[tuple[str, str], int]

    def whole(self, batch: str, record_id: str) -> dict[str, Any]:
        """All columns of a flagged record that were read; empty where the source no longer has it."""
        row = self.rows.get((batch, record_id))
        return {} if row is None else self.tables[batch].slice(row, 1).to_pylist()[0]


def surroundings(
    source: Source,
    key: Sequence[str],
    scored: Mapping[str, Manifest],
    detectors: Mapping[int, Detector],
    records: Sequence[Flagged],
    *,
    redact: Sequence[str] = (),
    also: Mapping[str, Collection[str]] | None = None,
) -> Surroundings:
    """`records` as the source has them, with others of their batches that were not flagged to compare with.

    `also` are, by batch, ids of further records that are to be read whole; they have no part in the settings.

    Read once, batch by batch, are the columns of the version that scored it, of `detectors`, and the key. Compared are
    context, categories among the features, and the key; of redacted columns nothing. Batches that the source no longer
    has, or has with other columns, are left out: their records have no context.
    """
    flagged: dict[str, set[str]] = {name: set(ids) for name, ids in (also or {}).items() if ids}
    for record in records:
        flagged.setdefault(record.batch, set()).add(record.record_id)
    if not flagged:
        return Surroundings(None, {}, {})
    tables: dict[str, pa.Table] = {}
    others: dict[str, pa.Table] = {}
    rows: dict[tuple[str, str], int] = {}
    with work("reading the flagged records and their surroundings", total=len(flagged)) as bar:
        for batch in sorted(flagged):
            columns = list(dict.fromkeys([*detectors[scored[batch].version].columns, *key]))
            try:
                ids, tables[batch], others[batch] = _of_batch(source, key, columns, batch, flagged[batch])
            except (SourceError, SchemaError):
                continue
            finally:
                bar.advance(1, batch)
            rows |= {(batch, record_id): row for row, record_id in enumerate(ids)}
    reads = _reads(detectors[max(detectors)], key, redact)
    if not records or not reads or not any(table.num_rows for table in others.values()):
        return Surroundings(None, tables, rows)
    # Where each record stands among those that were read, the last place for those that were not.
    start = dict(zip(tables, np.cumsum([0, *(table.num_rows for table in tables.values())]).tolist()))
    read = sum(table.num_rows for table in tables.values())
    place = [
        start[one.batch] + rows[one.batch, one.record_id] if (one.batch, one.record_id) in rows else read
        for one in records
    ]
    columns_of = [
        Column(
            one.name,
            np.append(_values(one, tables.values()), _nothing(one, 1))[place],
            _values(one, others.values()),
            one.period,
        )
        for one in reads
    ]
    batch_of = [name for name, table in others.items() for _ in range(table.num_rows)]
    settings = Settings(
        np.array([record.batch for record in records], dtype=object), np.array(batch_of, dtype=object), columns_of
    )
    return Surroundings(settings, tables, rows)


def _of_batch(
    source: Source, key: Sequence[str], columns: Sequence[str], batch: str, wanted: set[str]
) -> tuple[list[str], pa.Table, pa.Table]:
    """The ids and rows of the `wanted` records, and other rows: those of the least ids, whatever their order."""
    ids = RecordIds(key)
    found: list[str] = []
    flagged: list[pa.Table] = []
    others: list[pa.Table] = []
    ranks = np.array([], dtype=np.int64)
    for chunk in source.read(columns, batch=batch):
        here = ids.update(chunk)
        mine = [row for row, record_id in enumerate(here) if record_id in wanted]
        found += [here[row] for row in mine]
        table = pa.Table.from_batches([chunk])
        flagged.append(table.take(pa.array(mine, pa.int64())))
        rest = np.setdiff1d(np.arange(len(here)), mine)
        rank = np.array([int(here[row][:15], 16) for row in rest], dtype=np.int64)
        least = np.argsort(rank, kind="stable")[:OTHERS]
        ranks = np.concatenate([ranks, rank[least]])
        keep = np.argsort(ranks, kind="stable")[:OTHERS]
        others = [pa.concat_tables([*others, table.take(pa.array(rest[least]))]).take(pa.array(keep))]
        ranks = ranks[keep]
    empty = pa.table({name: pa.nulls(0) for name in columns})
    return found, pa.concat_tables(flagged) if flagged else empty, others[0] if others else empty


def _values(read: Read, tables: Iterable[pa.Table]) -> NDArray[Any]:
    """A column of all tables; what a table has not, or as another type, is missing."""
    return np.concatenate([_of_table(read, table) for table in tables])


def _of_table(read: Read, table: pa.Table) -> NDArray[Any]:
    if not table.num_rows or read.column not in table.column_names:
        return _nothing(read, table.num_rows)
    try:
        values: NDArray[Any] = read.values(table.column(read.column).combine_chunks())
    except SchemaError:
        return _nothing(read, table.num_rows)
    return values


def _nothing(read: Read, n: int) -> NDArray[Any]:
    return np.full(n, MISSING, dtype=object) if read.text else np.full(n, np.nan)


def _reads(detector: Detector, key: Sequence[str], redact: Sequence[str]) -> list[Read]:
    """What may be a common context, by the name of its entry: each raw column once, redacted ones never."""
    encoder = detector.encoder
    found = [
        Read(name, category.column, _text, True)
        for name, category in zip(encoder.category_names, encoder.categories, strict=True)
    ]
    found += [read for column in encoder.numeric for read in _of_numeric(column)]
    found += [Read(one.name, one.column, _text, True) for one in encoder.features if one.kind == "category"]
    found += [Read(name, name, _text, True) for name in key]
    hidden, taken, reads = {*detector.redact, *redact}, set(), []
    for one in found:
        if not {one.name, one.column} & hidden and one.column not in taken:
            reads.append(one)
            taken.add(one.column)
    return reads


def _of_numeric(column: NumericContext) -> list[Read]:
    if isinstance(column, BooleanContext):
        return [Read(column.name, column.column, lambda array: _boolean(column.read(array)), True)]
    if not isinstance(column, CyclicContext):
        return [Read(column.name, column.column, lambda array: _finite(column.read(array)), False)]
    period = column.period
    if period == "week":
        return [Read(column.name, column.column, lambda array: _weekday(column.read(array)), True)]
    if period == "year":  # which batches these are says as much
        return []
    length = 24.0 if period == "day" else float(period)
    return [Read(column.name, column.column, lambda array: _finite(column.read(array) * length), False, length)]


def _text(array: pa.Array) -> NDArray[Any]:
    values = array.cast(pa.string()).fill_null(MISSING).to_numpy(zero_copy_only=False)
    return np.array([value[:LONGEST] for value in values], dtype=object)


def _boolean(values: NDArray[np.float64]) -> NDArray[Any]:
    return np.array([{0.0: "false", 1.0: "true"}.get(value, MISSING) for value in values.tolist()], dtype=object)


def _weekday(phase: NDArray[np.float64]) -> NDArray[Any]:
    return np.array([DAYS[int(at * 7)] if np.isfinite(at) else MISSING for at in phase.tolist()], dtype=object)


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(values), values, np.nan)
