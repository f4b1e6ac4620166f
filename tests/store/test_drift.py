"""Drift: one record per pipeline, batch and version, with its own alarms and no other's."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from flowguard.store import Alarm, DriftRecord, Store
from flowguard.store.schema import ALARMS

DAY = DriftRecord(
    pipeline="meters",
    batch="2026-03-01",
    version=1,
    document={"power": {"ks": 0.31, "p_value": 1e-300}, "score": {"ks": 0.02}},
    alarms=(Alarm("power", "ks", 0.31), Alarm("power", "mean", -math.inf), Alarm("flow", "missing", 0.5)),
    measured_at=datetime(2026, 3, 2, 5, tzinfo=UTC),
)


def alarms(store: Store) -> int:
    with store.database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(ALARMS)).scalar_one())


def test_a_record_is_read_as_it_was_put(store: Store) -> None:
    store.drift.put(DAY)
    assert store.drift.of("meters") == [DAY]
    assert store.drift.of("pumps") == []


def test_a_rerun_replaces_the_record_and_its_alarms_alone(store: Store) -> None:
    other = replace(DAY, version=2)
    fewer = replace(DAY, alarms=DAY.alarms[:1], document={"power": {}})
    for record in (DAY, other, DAY, fewer):
        store.drift.put(record)
    assert store.drift.of("meters") == [fewer, other]
    assert alarms(store) == 1 + 3


def test_what_raised_alarms_is_found(store: Store) -> None:
    quiet = replace(DAY, batch="2026-03-02", alarms=())
    store.drift.put(quiet)
    store.drift.put(DAY)
    assert store.drift.of("meters") == [DAY, quiet]
    assert store.drift.of("meters", alarmed=True) == [DAY]
    assert store.drift.of("meters", batch="2026-03-02") == [quiet]
    assert store.drift.of("meters", version=2) == []


def test_what_cannot_be_kept_is_refused_and_changes_nothing(store: Store) -> None:
    store.drift.put(DAY)
    with pytest.raises(ValueError, match="power"):
        Alarm("power", "ks", math.nan)
    for wrong in (replace(DAY, document={"x": math.inf}), replace(DAY, measured_at=datetime(2026, 3, 2))):
        with pytest.raises(ValueError):
            store.drift.put(wrong)
    assert store.drift.of("meters") == [DAY]


def test_versions_that_observed_batches_are_counted(store: Store) -> None:
    later = replace(DAY, batch="2026-03-02", measured_at=datetime(2026, 3, 3, 5, tzinfo=UTC))
    for record in (DAY, later, replace(DAY, version=2), replace(DAY, pipeline="pumps", version=7)):
        store.drift.put(record)
    assert store.drift.observed("meters") == {1: (2, later.measured_at), 2: (1, DAY.measured_at)}
    assert store.drift.observed("none") == {}
