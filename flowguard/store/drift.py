"""The drift of batches, one record per pipeline, batch and version, and the alarms that it raised."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import index
from typing import Any

from sqlalchemy import delete, func, insert, select

from flowguard.store.database import Database
from flowguard.store.moment import utc
from flowguard.store.schema import ALARMS, DRIFT
from flowguard.store.upsert import upsert


@dataclass(frozen=True)
class Alarm:
    """Something that drifted: the `channel` (a column, the scores), the `kind` of test, the `value` that it gave."""

    channel: str
    kind: str
    value: float

    def __post_init__(self) -> None:
        if math.isnan(self.value):
            raise ValueError(f"The value of an alarm is a number; that of {self.channel} ({self.kind}) is NaN.")


@dataclass(frozen=True)
class DriftRecord:
    """What drifted in one batch as one version saw it: everything in `document`, as JSON holds it, and its alarms."""

    pipeline: str
    batch: str
    version: int
    document: Mapping[str, Any]
    alarms: tuple[Alarm, ...]
    measured_at: datetime


@dataclass(frozen=True)
class Drift:
    """The tables of drift and alarms.

    >>> import tempfile
    >>> from datetime import UTC, datetime
    >>> from flowguard.store import Alarm, DriftRecord, Store
    >>> day = DriftRecord("meters", "2026-03-01", 1, document={"power": {"ks": 0.31}},
    ...     alarms=(Alarm("power", "ks", 0.31),), measured_at=datetime(2026, 3, 2, 5, tzinfo=UTC))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     drift = Store.open(f"sqlite:///{folder}/flowguard.db").drift
    ...     drift.put(day)
    ...     drift.put(day)  # a rerun
    ...     drift.of("meters", alarmed=True) == [day]
    True
    """

    database: Database

    def put(self, record: DriftRecord) -> None:
        """Remember `record` and its alarms; what was known of the same pipeline, batch and version is replaced.

        Raises `ValueError` for a document that is no JSON (NaN and infinity are none) or a time without zone.
        """
        key = {"pipeline": record.pipeline, "batch": record.batch, "version": index(record.version)}
        document = json.dumps(dict(record.document), sort_keys=True, allow_nan=False)
        alarms = [
            {**key, "position": position, "channel": alarm.channel, "kind": alarm.kind, "value": float(alarm.value)}
            for position, alarm in enumerate(record.alarms)
        ]
        with self.database.writing(lock=f"drift {record.pipeline}") as connection:
            upsert(connection, DRIFT, {**key, "document": document, "measured_at": utc(record.measured_at)})
            connection.execute(delete(ALARMS).where(*(ALARMS.c[name] == value for name, value in key.items())))
            if alarms:
                connection.execute(insert(ALARMS), alarms)

    def of(
        self, pipeline: str, *, batch: str | None = None, version: int | None = None, alarmed: bool = False
    ) -> list[DriftRecord]:
        """The drift of `pipeline`, or of one batch or version of it, or only what raised alarms; by batch, version."""
        wanted: dict[str, Any] = {"pipeline": pipeline}
        if batch is not None:
            wanted["batch"] = batch
        if version is not None:
            wanted["version"] = index(version)
        found = select(DRIFT).where(*(DRIFT.c[name] == value for name, value in wanted.items()))
        rung = select(ALARMS).where(*(ALARMS.c[name] == value for name, value in wanted.items()))
        alarms: defaultdict[tuple[str, int], list[Alarm]] = defaultdict(list)
        with self.database.reading() as connection:
            for row in connection.execute(rung.order_by(ALARMS.c.position)):
                alarms[row.batch, row.version].append(Alarm(row.channel, row.kind, row.value))
            records = [
                DriftRecord(
                    row.pipeline,
                    row.batch,
                    row.version,
                    document=json.loads(row.document),
                    alarms=tuple(alarms[row.batch, row.version]),
                    measured_at=row.measured_at,
                )
                for row in connection.execute(found)
            ]
        kept = [record for record in records if record.alarms or not alarmed]
        return sorted(kept, key=lambda record: (record.batch, record.version))

    def observed(self, pipeline: str) -> dict[int, tuple[int, datetime]]:
        """How many batches each version has observed, and when the last was measured: a cheap question."""
        counted = select(DRIFT.c.version, func.count().label("n"), func.max(DRIFT.c.measured_at).label("last"))
        query = counted.where(DRIFT.c.pipeline == pipeline).group_by(DRIFT.c.version).order_by(DRIFT.c.version)
        with self.database.reading() as connection:
            return {row.version: (row.n, row.last) for row in connection.execute(query)}

    def alarmed(self, pipeline: str) -> list[tuple[str, int]]:
        """The batches and versions with alarms, without what was measured: a cheap question."""
        query = select(ALARMS.c.batch, ALARMS.c.version).where(ALARMS.c.pipeline == pipeline).distinct()
        with self.database.reading() as connection:
            return sorted((row.batch, row.version) for row in connection.execute(query))
