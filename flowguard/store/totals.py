"""What the rows of a pipeline add up to: a few cheap questions for those who ask all the time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, select

from flowguard.store.batches import ScoredBatch
from flowguard.store.database import Database
from flowguard.store.queue import tallies_of
from flowguard.store.queued import Tally
from flowguard.store.schema import (
    ALARMS,
    ALIASES,
    BATCHES,
    DRIFT,
    QUEUED_BATCHES,
    QUEUED_RECORDS,
    RULES,
    VERDICTS,
)


@dataclass(frozen=True)
class Scored:
    """The batches of one version, and their records: read = scored + quarantined, of which some are flagged."""

    batches: int
    read: int
    scored: int
    flagged: int
    quarantined: int


@dataclass(frozen=True)
class Observed:
    """The batches of one version whose drift was looked at, and those that raised an alarm."""

    batches: int
    alarmed: int


@dataclass(frozen=True)
class Total:
    """What is remembered of a pipeline.

    `scored` and `observed` are by version. `last` is the batch that was scored last, `drift` the document of the one
    whose drift was measured last, `alarmed_at` when one raised an alarm last. `queue` counts the records of all queued
    batches, and `open_since` is when the oldest of those with an open flagged record was scored. `verdicts` counts
    entries by decision, "undone" for those that take one back; `rules` those that count now. `promoted_at` is when the
    champion was last changed.
    """

    scored: Mapping[int, Scored]
    last: ScoredBatch | None
    observed: Mapping[int, Observed]
    drift: Mapping[str, Any] | None
    alarmed_at: datetime | None
    queue: Tally
    open_since: datetime | None
    verdicts: Mapping[str, int]
    rules: int
    promoted_at: datetime | None


@dataclass(frozen=True)
class Totals:
    """Sums over the tables of the store.

    >>> import tempfile
    >>> from flowguard.store import Store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Store.open(f"sqlite:///{folder}/flowguard.db").totals.of("meters").queue.open
    0
    """

    database: Database

    def of(self, pipeline: str, *, at: datetime | None = None) -> Total:
        """The totals of a pipeline, of one state of the store; rules are those that count `at` a moment, or now."""
        with self.database.reading() as connection:
            return Total(
                scored=_scored(connection, pipeline),
                last=_last(connection, pipeline),
                observed=_observed(connection, pipeline),
                drift=_drift(connection, pipeline),
                alarmed_at=_alarmed_at(connection, pipeline),
                queue=_queue(connection, pipeline),
                open_since=_open_since(connection, pipeline),
                verdicts=_verdicts(connection, pipeline),
                rules=_rules(connection, pipeline, at or datetime.now(UTC)),
                promoted_at=_promoted_at(connection, pipeline),
            )


def _scored(connection: Connection, pipeline: str) -> dict[int, Scored]:
    sums = (func.sum(BATCHES.c[name]).label(name) for name in ("read", "scored", "flagged", "quarantined"))
    query = select(BATCHES.c.version, func.count().label("n"), *sums).where(BATCHES.c.pipeline == pipeline)
    rows = connection.execute(query.group_by(BATCHES.c.version).order_by(BATCHES.c.version))
    # PostgreSQL's sums of integers are decimals.
    return {
        row.version: Scored(row.n, int(row.read), int(row.scored), int(row.flagged), int(row.quarantined))
        for row in rows
    }


def _last(connection: Connection, pipeline: str) -> ScoredBatch | None:
    mine = select(BATCHES).where(BATCHES.c.pipeline == pipeline)
    newest = mine.order_by(BATCHES.c.scored_at.desc(), BATCHES.c.batch.desc(), BATCHES.c.version.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None else ScoredBatch(**row._asdict() | {"policy": json.loads(row.policy)})


def _observed(connection: Connection, pipeline: str) -> dict[int, Observed]:
    of_all = select(DRIFT.c.version, func.count().label("n")).where(DRIFT.c.pipeline == pipeline)
    rung = select(ALARMS.c.version, func.count(ALARMS.c.batch.distinct()).label("n")).where(
        ALARMS.c.pipeline == pipeline
    )
    alarmed = {row.version: row.n for row in connection.execute(rung.group_by(ALARMS.c.version))}
    rows = connection.execute(of_all.group_by(DRIFT.c.version).order_by(DRIFT.c.version))
    return {row.version: Observed(row.n, alarmed.get(row.version, 0)) for row in rows}


def _drift(connection: Connection, pipeline: str) -> Mapping[str, Any] | None:
    mine = select(DRIFT.c.document).where(DRIFT.c.pipeline == pipeline)
    newest = mine.order_by(DRIFT.c.measured_at.desc(), DRIFT.c.batch.desc(), DRIFT.c.version.desc()).limit(1)
    document = connection.execute(newest).scalar_one_or_none()
    return None if document is None else dict(json.loads(document))


def _alarmed_at(connection: Connection, pipeline: str) -> datetime | None:
    same = (ALARMS.c[part] == DRIFT.c[part] for part in ("pipeline", "batch", "version"))
    rung = select(ALARMS.c.position).where(*same).exists()
    query = select(func.max(DRIFT.c.measured_at)).where(DRIFT.c.pipeline == pipeline, rung)
    return connection.execute(query).scalar_one()


def _queue(connection: Connection, pipeline: str) -> Tally:
    total: Counter[str] = Counter()
    for tally in tallies_of(connection, pipeline).values():
        total.update(vars(tally))
    return Tally(**total)


def _open_since(connection: Connection, pipeline: str) -> datetime | None:
    same = (QUEUED_RECORDS.c[part] == QUEUED_BATCHES.c[part] for part in ("pipeline", "batch"))
    undecided = (QUEUED_RECORDS.c.flagged, QUEUED_RECORDS.c.rule.is_(None), QUEUED_RECORDS.c.decision.is_(None))
    has_open = select(QUEUED_RECORDS.c.record_id).where(*same, *undecided).exists()
    query = select(func.min(QUEUED_BATCHES.c.scored_at)).where(QUEUED_BATCHES.c.pipeline == pipeline, has_open)
    return connection.execute(query).scalar_one()


def _verdicts(connection: Connection, pipeline: str) -> dict[str, int]:
    by = VERDICTS.c.decision
    query = select(by, func.count().label("n")).where(VERDICTS.c.pipeline == pipeline).group_by(by)
    return {row.decision or "undone": row.n for row in connection.execute(query)}


def _rules(connection: Connection, pipeline: str, at: datetime) -> int:
    counting = (RULES.c.made_at <= at, RULES.c.expires_at > at)
    standing = RULES.c.revoked_at.is_(None) | (RULES.c.revoked_at > at)
    query = select(func.count()).select_from(RULES).where(RULES.c.pipeline == pipeline, *counting, standing)
    return int(connection.execute(query).scalar_one())


def _promoted_at(connection: Connection, pipeline: str) -> datetime | None:
    mine = (ALIASES.c.model == pipeline, ALIASES.c.alias == "champion")
    query = select(ALIASES.c.changed_at).where(*mine).order_by(ALIASES.c.sequence.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none()
