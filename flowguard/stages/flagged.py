"""What was flagged: records with their reasons, strangest first, read by manifest."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from flowguard.errors import FlowguardError, InputError
from flowguard.explain import Reason
from flowguard.stages.manifest import Manifest, latest
from flowguard.stages.pruned import at_hand, refuse_pruned
from flowguard.stages.suppressed import suppressed as kept_away
from flowguard.stages.workspace import Workspace
from flowguard.store import Decision, Rule


@dataclass(frozen=True)
class Flagged:
    """A flagged record: its key under the columns' own names, numbers, and reasons, strongest first.

    `verdict` is what was last decided on it, `rule` the one that keeps it from being shown; None where there is none,
    and where nobody looked that up.
    """

    record_id: str
    key: dict[str, Any]
    batch: str
    version: int
    log_likelihood: float
    score: float
    p_value: float
    extrapolated: bool
    reasons: tuple[Reason, ...]
    verdict: Decision | None = None
    rule: int | None = None

    def row(self) -> dict[str, Any]:
        """The record as one flat row."""
        return {
            **self.key,
            "batch": self.batch,
            "record_id": self.record_id,
            "log_likelihood": self.log_likelihood,
            "score": self.score,
            "p_value": self.p_value,
            **({"extrapolated": True} if self.extrapolated else {}),
            "version": self.version,
            **({} if self.verdict is None else {"verdict": self.verdict}),
            **({} if self.rule is None else {"rule": self.rule}),
            "reasons": [reason.words for reason in self.reasons],
        }


@dataclass(frozen=True)
class FlaggedList:
    """The strangest `records` of `total` flagged ones; `key` names the key columns that are shown.

    `suppressed` says of each rule how many of `total` it keeps from being shown.
    """

    key: tuple[str, ...]
    total: int
    records: tuple[Flagged, ...]
    suppressed: Mapping[int, int] = field(default_factory=dict)


def flagged(
    pipeline: str | Path, *, batch: str | None = None, top: int | None = 20, suppressed: bool = False
) -> FlaggedList:
    """The strangest flagged records of one batch or of all, by p-value, then score, with what was decided on them.

    Those that a rule keeps from being shown are counted and left out; with `suppressed` they alone are there.

    Of a batch that several versions have scored, the latest one's word counts. Raises `InputError` when `batch` has
    not been scored, or was pruned since.
    """
    workspace = Workspace.open(pipeline)
    scored = latest(workspace.folder)
    if batch is not None:
        if batch not in scored:
            raise InputError(
                f"Batch {batch!r} of {workspace.pipeline.name} has not been scored"
                + (f"; {len(scored)} batches have, the last is {max(scored)}." if scored else " (none has been).")
                + f" Run `flowguard score {pipeline} --batch {batch}`."
            )
        scored = {batch: scored[batch]}
    refuse_pruned(scored, batch, pipeline)
    scored = at_hand(scored)
    spec = workspace.pipeline
    key = tuple(name for name in spec.source.key if name not in spec.source.redact)
    rules = workspace.store.rules.all(spec.name)
    counts: Counter[int] = Counter()
    every = (
        record
        for manifest in scored.values()
        for record in with_rules(workspace, manifest, of_batch(workspace, manifest, key), rules, counts)
        if (record.rule is not None) == suppressed
    )
    total = sum(manifest.flagged for manifest in scored.values())
    records = sorted(every, key=strangeness) if top is None else heapq.nsmallest(top, every, key=strangeness)
    return FlaggedList(key, total, tuple(with_verdicts(workspace, records)), dict(sorted(counts.items())))


def with_rules(
    workspace: Workspace, manifest: Manifest, records: Iterator[Flagged], rules: Sequence[Rule], counts: Counter[int]
) -> Iterator[Flagged]:
    """The flagged records of a batch, each with the rule that keeps it from being shown, which is added to `counts`."""
    if not rules:
        yield from records
        return
    mine = list(records)
    kept = kept_away(workspace, manifest, mine, rules)
    counts.update(kept.values())
    yield from (replace(one, rule=kept.get(one.record_id)) for one in mine)


def with_verdicts(workspace: Workspace, records: Sequence[Flagged]) -> list[Flagged]:
    """The records with the verdicts that stand, but for those that were given on the same key in another batch."""
    known = workspace.store.verdicts.latest(workspace.pipeline.name, (record.record_id for record in records))
    decided = {(entry.record_id, entry.batch): entry.decision for entry in known.values()}
    return [replace(record, verdict=decided.get((record.record_id, record.batch))) for record in records]


def strangeness(record: Flagged) -> tuple[float, float, str]:
    """What records are sorted by: smallest p-value, then highest score, then id."""
    return record.p_value, -record.score, record.record_id


def of_batch(workspace: Workspace, manifest: Manifest, key: Sequence[str]) -> Iterator[Flagged]:
    """The flagged records of one scored batch, in the file's order."""
    if not manifest.flagged:
        return
    for file in manifest.files.values():
        if not (workspace.folder / file).exists():
            raise FlowguardError(
                f"{workspace.folder / file} is gone, which the manifest of batch {manifest.batch} names. "
                f"Score the batch again: `flowguard score {workspace.pipeline.path} --batch {manifest.batch}`."
            )
    reasons: dict[str, list[Reason]] = defaultdict(list)
    if "reasons" in manifest.files:
        for row in pq.read_table(workspace.folder / manifest.files["reasons"], partitioning=None).to_pylist():
            reasons[row["record_id"]].append(Reason(**row))
    columns = ["record_id", *key, "log_likelihood", "score", "p_value", "extrapolated"]
    path = workspace.folder / manifest.files["scores"]
    table = pq.read_table(path, columns=columns, filters=[("flag", "==", True)], partitioning=None)
    for row in table.to_pylist():
        yield Flagged(
            record_id=row["record_id"],
            key={name: row[name] for name in key},
            batch=manifest.batch,
            version=manifest.version,
            log_likelihood=row["log_likelihood"],
            score=row["score"],
            p_value=row["p_value"],
            extrapolated=row["extrapolated"],
            reasons=tuple(sorted(reasons[row["record_id"]], key=lambda reason: reason.rank)),
        )
