"""The batches scored, one row per pipeline, batch and version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import index
from typing import Any

from sqlalchemy import Row, select

from flowguard.store.database import Database
from flowguard.store.moment import utc
from flowguard.store.schema import BATCHES
from flowguard.store.upsert import upsert


@dataclass(frozen=True)
class ScoredBatch:
    """What happened to one batch under one version: read = scored + quarantined records, of which some are flagged.

    `bundle` is the digest of the version, `fingerprint` that of the batch's data, `policy` what was decided by, with
    its level, as JSON holds it.
    """

    pipeline: str
    batch: str
    version: int
    bundle: str
    fingerprint: str
    read: int
    scored: int
    flagged: int
    quarantined: int
    policy: Mapping[str, Any]
    scored_at: datetime


@dataclass(frozen=True)
class Batches:
    """The table of scored batches.

    >>> import tempfile
    >>> from datetime import UTC, datetime
    >>> from flowguard.store import ScoredBatch, Store
    >>> day = ScoredBatch("meters", "2026-03-01", 1, bundle="b", fingerprint="f", read=10, scored=8, flagged=1,
    ...     quarantined=2, policy={"false_alarm_rate": 0.01}, scored_at=datetime(2026, 3, 2, 5, tzinfo=UTC))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     batches = Store.open(f"sqlite:///{folder}/flowguard.db").batches
    ...     batches.put(day)
    ...     batches.put(day)  # a rerun
    ...     batches.of("meters") == [day]
    True
    """

    database: Database

    def put(self, batch: ScoredBatch) -> None:
        """Remember `batch`; what was known of the same pipeline, batch and version is replaced.

        Raises `ValueError` for a policy that is no JSON (NaN and infinity are none) or a time without zone.
        """
        row = {
            "pipeline": batch.pipeline,
            "batch": batch.batch,
            "version": index(batch.version),
            "bundle": batch.bundle,
            "fingerprint": batch.fingerprint,
            # NumPy's integers would reach SQLite as bytes.
            "read": index(batch.read),
            "scored": index(batch.scored),
            "flagged": index(batch.flagged),
            "quarantined": index(batch.quarantined),
            "policy": json.dumps(dict(batch.policy), sort_keys=True, allow_nan=False),
            "scored_at": utc(batch.scored_at),
        }
        with self.database.writing(lock=f"batches {batch.pipeline}") as connection:
            upsert(connection, BATCHES, row)

    def of(self, pipeline: str, *, batch: str | None = None, version: int | None = None) -> list[ScoredBatch]:
        """The batches of `pipeline`, or one batch or version of them, by batch and then version."""
        query = select(BATCHES).where(BATCHES.c.pipeline == pipeline)
        if batch is not None:
            query = query.where(BATCHES.c.batch == batch)
        if version is not None:
            query = query.where(BATCHES.c.version == index(version))
        with self.database.reading() as connection:
            rows = connection.execute(query).all()
        # Sorted here: databases order text by their own languages.
        return sorted(map(_scored_batch, rows), key=lambda found: (found.batch, found.version))


def _scored_batch(row: Row[Any]) -> ScoredBatch:
    known = row._asdict()
    return ScoredBatch(**{**known, "policy": json.loads(known["policy"])})
