"""The audit of scored batches: which unflagged records are drawn for review, and whether a record is one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from flowguard.errors import FlowguardError, InputError
from flowguard.review import AUDITED, audited
from flowguard.review.audit import inclusion
from flowguard.stages.manifest import Manifest, latest
from flowguard.stages.pruned import at_hand, refuse_pruned
from flowguard.stages.workspace import Workspace
from flowguard.store import Decision


@dataclass(frozen=True)
class Drawn:
    """An unflagged record that was drawn, with the verdict that stands on it; None where there is none."""

    record_id: str
    key: dict[str, Any]
    batch: str
    version: int
    score: float
    p_value: float
    verdict: Decision | None


@dataclass(frozen=True)
class Audit:
    """The drawn records of some batches; `key` names the key columns that are shown.

    `probability` has, by batch, the chance with which each of its unflagged records was drawn.
    """

    key: tuple[str, ...]
    records: tuple[Drawn, ...]
    probability: dict[str, float]

    @property
    def open(self) -> int:
        """How many nobody has decided on."""
        return sum(record.verdict is None for record in self.records)


def audit(pipeline: str | Path, *, batch: str | None = None, size: int = AUDITED) -> Audit:
    """The `size` unflagged records that are drawn of every scored batch, or of one; by batch, the first drawn first.

    Raises `InputError` when nothing, or not this batch, has been scored.
    """
    workspace = Workspace.open(pipeline)
    scored = latest(workspace.folder)
    if not scored or (batch is not None and batch not in scored):
        what = f"batch {batch!r} has not" if batch is not None else "no batch has"
        raise InputError(
            f"{workspace.pipeline.name}: {what} been scored yet. "
            f"Run `flowguard score {pipeline}{f' --batch {batch}' if batch is not None else ''}` first."
        )
    refuse_pruned(scored, batch, pipeline)
    scored = at_hand(scored)
    source = workspace.pipeline.source
    key = tuple(name for name in source.key if name not in source.redact)
    chosen = [manifest for name, manifest in scored.items() if batch in (None, name)]
    records = tuple(one for manifest in chosen for one in drawn_of(workspace, manifest, key, size))
    known = workspace.store.verdicts.latest(workspace.pipeline.name, (one.record_id for one in records))
    decided = {(entry.record_id, entry.batch): entry.decision for entry in known.values()}
    records = tuple(replace(one, verdict=decided.get((one.record_id, one.batch))) for one in records)
    chance = {manifest.batch: inclusion(size, manifest.scored - manifest.flagged) for manifest in chosen}
    return Audit(key, records, chance)


def drawn_of(workspace: Workspace, manifest: Manifest, key: tuple[str, ...], size: int = AUDITED) -> tuple[Drawn, ...]:
    """The records of one scored batch that are drawn, the first drawn first, without verdicts."""
    return tuple(
        Drawn(
            record_id=row["record_id"],
            key={name: row.get(name) for name in key},
            batch=manifest.batch,
            version=manifest.version,
            score=row["score"],
            p_value=row["p_value"],
            verdict=None,
        )
        for row in _rows(workspace, manifest, key, size)
    )


def drawn_ids(workspace: Workspace, manifest: Manifest, size: int = AUDITED) -> tuple[str, ...]:
    """The ids of the unflagged records of a scored batch that are drawn, the first drawn first; streamed."""
    if "scores" not in manifest.files:  # no record of the batch was scored
        return ()
    return audited(workspace.pipeline.name, _unflagged(_scores(workspace, manifest)), size)


def _rows(workspace: Workspace, manifest: Manifest, key: tuple[str, ...], size: int) -> list[dict[str, Any]]:
    ids = drawn_ids(workspace, manifest, size)
    if not ids:
        return []
    path = _scores(workspace, manifest)
    there = set(pq.read_schema(path).names)
    columns = [name for name in ("record_id", *key, "score", "p_value") if name in there]
    test = pc.field("record_id").isin(list(ids))
    table = pq.read_table(path, columns=columns, filters=test, partitioning=None)
    found = {row["record_id"]: row for row in table.to_pylist()}
    return [found[record_id] for record_id in ids]


def _unflagged(path: Path) -> Iterator[str]:
    with pq.ParquetFile(path) as file:
        for part in file.iter_batches(columns=["record_id", "flag"]):
            yield from part.filter(pc.invert(part.column("flag"))).column("record_id").to_pylist()


def _scores(workspace: Workspace, manifest: Manifest) -> Path:
    path = workspace.folder / manifest.files["scores"]
    if not path.exists():
        raise FlowguardError(
            f"{path} is gone, which the manifest of batch {manifest.batch} names. "
            f"Score the batch again: `flowguard score {workspace.pipeline.path} --batch {manifest.batch}`."
        )
    return path
