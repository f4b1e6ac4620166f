"""Counterparts of a scored record: the nearest ordinary records around its batch, and flagged ones odd in its way."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flowguard.detector import Detector
from flowguard.detector.locate import entries, nearest_records
from flowguard.errors import FlowguardError, SchemaError, SourceError
from flowguard.explain import Reason
from flowguard.explain.counterparts import DIFFERS, likeness
from flowguard.stages.flagged import Flagged, of_batch
from flowguard.stages.manifest import Manifest
from flowguard.stages.workspace import Workspace
from flowguard.tables import RecordIds, Source

ORDINARY = 0.05
"""A record counts as ordinary that was not flagged and has a greater p-value."""

ENOUGH, MOST = 200, 5_000
"""Ordinary records that are looked among: at most so many, and from neighbouring batches only below the former."""

BESIDE = 8
"""So many neighbouring batches are read for ordinary records, at most."""

AROUND = 30
"""So many batches before and after are looked through for flagged records."""

ALIKE = 0.7
"""The least likeness of flagged records that are shown."""


@dataclass(frozen=True)
class Ordinary:
    """A record that is nearest: its numbers, its values by entry, and the entries in which it differs."""

    record_id: str
    key: dict[str, Any]
    batch: str
    p_value: float
    distance: float
    values: dict[str, Any]
    differs: tuple[str, ...]


@dataclass(frozen=True)
class Alike:
    """A flagged record that is odd in the same columns; `likeness` up to 1."""

    record_id: str
    key: dict[str, Any]
    batch: str
    p_value: float
    likeness: float
    reasons: tuple[str, ...]


@dataclass
class Drawn:
    """Records read again from a batch: the one asked for, None where it is not there, and ordinary ones beside it."""

    one: pa.RecordBatch | None = None
    ordinary: list[pa.RecordBatch] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)
    p_values: list[float] = field(default_factory=list)


def draw(
    workspace: Workspace, source: Source, detector: Detector, found: Manifest, record_id: str, *, ordinary: bool
) -> Drawn:
    """Read the record again, and ordinary ones of its batch in the same pass.

    Raises `SourceError` or `SchemaError` when the source has no such batch or columns any more.
    """
    drawn = Drawn()
    wanted = ordinary_of(workspace, found) if ordinary else {}
    _read(workspace, source, detector, found.batch, drawn, wanted, record_id)
    return drawn


def draw_around(
    workspace: Workspace, source: Source, detector: Detector, near: Sequence[Manifest], drawn: Drawn
) -> None:
    """Add ordinary records of other batches, nearest batch first, until there are enough."""
    for manifest in near[:BESIDE]:
        if len(drawn.ids) >= ENOUGH:
            return
        try:
            _read(workspace, source, detector, manifest.batch, drawn, ordinary_of(workspace, manifest), None)
        except (SourceError, SchemaError):
            continue


def ordinary_of(workspace: Workspace, manifest: Manifest) -> dict[str, float]:
    """The p-values of a batch's ordinary records by record_id, of at most `MOST` records spread evenly over it."""
    path = _scores(workspace, manifest)
    if path is None:
        return {}
    found: dict[str, float] = {}
    step, place = max(1, -(-manifest.scored // MOST)), 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["record_id", "p_value", "flag"]):
            here = range(-place % step, batch.num_rows, step)
            place += batch.num_rows
            rows = batch.take(pa.array(here, pa.int64())).to_pylist()
            found |= {row["record_id"]: row["p_value"] for row in rows if not row["flag"] and row["p_value"] > ORDINARY}
    return found


def strangest_before(workspace: Workspace, manifest: Manifest, score: float) -> int:
    """How many records of the batch have a higher score."""
    path = _scores(workspace, manifest)
    if path is None:
        return 0
    with pq.ParquetFile(path) as file:
        pieces = (batch.column(0).to_numpy() for batch in file.iter_batches(columns=["score"]))
        return int(sum((piece > score).sum() for piece in pieces))


def nearest_ordinary(
    detector: Detector, drawn: Drawn, *, key: Sequence[str], redact: Sequence[str], count: int
) -> tuple[Ordinary, ...]:
    """The ordinary records that are nearest to the one asked for; values of `redact` columns stay away."""
    if drawn.one is None or not drawn.ids:
        return ()
    among = pa.Table.from_batches(drawn.ordinary).combine_chunks().to_batches()[0]
    found = nearest_records(detector, detector.encode(drawn.one), detector.encode(among), count=count)
    names = [name for name, _ in entries(detector)]
    shown = shown_entries(detector, redact)
    told = []
    for row, distance, gaps in zip(found.rows.tolist(), found.distance.tolist(), found.gaps, strict=True):
        one = among.slice(row, 1)
        differs = [name for name, gap in zip(names, gaps.tolist(), strict=True) if gap >= DIFFERS and name in shown]
        told.append(
            Ordinary(
                record_id=drawn.ids[row],
                key=values_of(one, {name: name for name in key}),
                batch=drawn.batches[row],
                p_value=drawn.p_values[row],
                distance=distance,
                values=values_of(one, shown),
                differs=tuple(differs),
            )
        )
    return tuple(told)


def shown_entries(detector: Detector, redact: Sequence[str]) -> dict[str, str]:
    """Features and context with the raw column of each, without redacted ones."""
    return {name: column for name, column in entries(detector) if not {name, column} & {*redact, *detector.redact}}


def values_of(one: pa.RecordBatch, columns: Mapping[str, str]) -> dict[str, Any]:
    """The values of a single record, by entry."""
    return {name: one.column(column)[0].as_py() for name, column in columns.items()}


def flagged_alike(
    workspace: Workspace,
    reasons: Sequence[Reason],
    near: Sequence[Manifest],
    *,
    key: Sequence[str],
    but: str,
    count: int,
) -> tuple[Alike, ...]:
    """The flagged records of these batches, but the one asked for, that are most alike."""
    found = []
    for record in _flagged(workspace, near, key):
        like = likeness(reasons, record.reasons)
        if like >= ALIKE and record.record_id != but:
            found.append((like, record))
    # Nearly the same likeness is no order: the stranger one comes first.
    found.sort(key=lambda one: (-round(one[0], 2), one[1].p_value, -one[1].score, one[1].record_id))
    return tuple(
        Alike(
            record_id=record.record_id,
            key=record.key,
            batch=record.batch,
            p_value=record.p_value,
            likeness=round(like, 4),
            reasons=tuple(reason.words for reason in record.reasons),
        )
        for like, record in found[:count]
    )


def around(scored: Mapping[str, Manifest], batch: str, *, version: int) -> list[Manifest]:
    """The batches before and after, by name, that the version scored too; the nearest first."""
    places = {name: place for place, name in enumerate(sorted({*scored, batch}))}
    near = sorted((name for name in places if name != batch), key=lambda name: abs(places[name] - places[batch]))
    return [scored[name] for name in near if scored[name].version == version][: 2 * AROUND]


def _flagged(workspace: Workspace, near: Sequence[Manifest], key: Sequence[str]) -> Iterator[Flagged]:
    left = MOST
    for manifest in near:
        try:
            for record in of_batch(workspace, manifest, key):
                yield record
                left -= 1
                if not left:
                    return
        except FlowguardError:
            continue  # files of another batch that are gone are no reason to say nothing of this one


def _read(
    workspace: Workspace,
    source: Source,
    detector: Detector,
    batch: str,
    drawn: Drawn,
    wanted: Mapping[str, float],
    record_id: str | None,
) -> None:
    """One pass over a batch, which ends as soon as all that is wanted was found."""
    key = workspace.pipeline.source.key
    ids = RecordIds(key)
    left = set(wanted) - {record_id}
    for chunk in source.read(list(dict.fromkeys([*detector.columns, *key])), batch=batch):
        here = ids.update(chunk)
        rows = [row for row, name in enumerate(here) if name in left]
        if rows:
            drawn.ordinary.append(chunk.take(pa.array(rows)))
            drawn.ids += [here[row] for row in rows]
            drawn.batches += [batch] * len(rows)
            drawn.p_values += [wanted[here[row]] for row in rows]
            left -= {here[row] for row in rows}
        if record_id is not None and record_id in here:
            drawn.one = chunk.slice(here.index(record_id), 1)
            record_id = None
        if record_id is None and not left:
            return


def _scores(workspace: Workspace, manifest: Manifest) -> Path | None:
    if "scores" not in manifest.files:
        return None
    path = workspace.folder / manifest.files["scores"]
    return path if os.path.exists(path) else None
