"""Queued: what the desk's queue holds of a record, read back, and the rules that bear on it.

The queue has no reason of a redacted column, so that what a rule makes of such a record is left as it was found when
the batch was queued, with the whole reason at hand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from flowguard.explain import Reason
from flowguard.explain.words import redacted_reason
from flowguard.review import Scope, first_covering
from flowguard.stages.workspace import Workspace
from flowguard.store import Decision, QueuedRecord, Wanted
from flowguard.store.queue import LONGEST_MARK
from flowguard.store.queued import Kind

LOOKED_AT = 20_000
"""So many records of the queue, the newest, tell what a new rule would have kept away."""
_SHOWN = 3
_KINDS: tuple[Kind, ...] = ("flagged", "suppressed")


@dataclass(frozen=True)
class Covered:
    """What a rule of one scope would have kept away of the records in the queue.

    `records` of them it covers, in `batches`; `open` of these nobody decided on, and `decided` counts the decisions on
    the others. `all` is False where only the newest records were looked at.
    """

    records: int
    batches: int
    open: int
    decided: Mapping[Decision, int]
    strangest: tuple[QueuedRecord, ...]
    all: bool


def reasons_of(record: QueuedRecord) -> tuple[Reason, ...]:
    """Its reasons, strongest first."""
    return tuple(Reason(**_numbers(reason)) for reason in record.document["reasons"])


def values_of(record: QueuedRecord) -> dict[str, Any]:
    """Its columns, key included, without those that must not be told."""
    return {**record.document["key"], **record.document["values"]}


def covered(workspace: Workspace, scope: Scope, *, most: int = LOOKED_AT) -> Covered:
    """The records of the queue that a rule of this scope would cover, those that a rule keeps away already too."""
    name, queue, reasons = workspace.pipeline.name, workspace.store.queue, workspace.pipeline.output.reasons
    # A record within the scope has a reason of one of its columns: the database finds those by their marks.
    column = scope.columns[0].column if len(scope.columns) == 1 else None
    column = column if column is not None and len(column) <= LONGEST_MARK else None
    found: list[QueuedRecord] = []
    every = True
    for kind in _KINDS:
        for looked, one in enumerate(queue.stream(name, Wanted(kind=kind, column=column, order="newest"))):
            if looked == most:
                every = False
                break
            if scope.covers(reasons_of(one), values_of(one), most=reasons):
                found.append(one)
    decided = Counter(one.decision for one in found if one.decision is not None)
    return Covered(
        records=len(found),
        batches=len({one.batch for one in found}),
        open=sum(one.decision is None for one in found),
        decided=dict(decided),
        strangest=tuple(sorted(found, key=lambda one: (one.p_value, -one.score))[:_SHOWN]),
        all=every,
    )


def apply_rules(pipeline: str | Path, *, since: datetime | None = None) -> int:
    """Say anew of the queue's flagged records which rule keeps each from being shown; returns how many changed.

    Law: as when a batch is queued, rules count that were active when it was scored, so that a rule that was made or
    revoked since changes nothing. With `since`, only batches are looked at that were scored from then on: those that
    a run was scoring while somebody made or revoked a rule.
    """
    workspace = Workspace.open(pipeline)
    name, queue, most = workspace.pipeline.name, workspace.store.queue, workspace.pipeline.output.reasons
    rules = workspace.store.rules.all(name)
    changed = 0
    for batch in queue.batches(name):
        if since is not None and batch.scored_at < since:
            continue
        active = [rule for rule in rules if rule.active(batch.scored_at)]
        now: dict[str, int | None] = {}
        for kind in _KINDS:
            if kind == "flagged" and not active:
                continue  # nothing keeps away what is shown
            for one in queue.stream(name, Wanted(batch=batch.batch, kind=kind)):
                reasons = reasons_of(one)
                if any(reason.words == redacted_reason(reason.column) for reason in reasons):
                    continue
                rule = first_covering(active, reasons, values_of(one), batch.scored_at, most=most)
                if rule != one.rule:
                    now[one.record_id] = rule
        if now:
            queue.set_rules(name, batch.batch, now)
            changed += len(now)
    return changed


def _numbers(reason: Mapping[str, Any]) -> dict[str, Any]:
    """A reason out of JSON, which has no NaN: what must be a number is one."""
    return {**reason, **{name: math.nan if reason[name] is None else float(reason[name]) for name in ("share", "term")}}
