"""Scored batches: read as they were put, once per pipeline, batch and version."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from flowguard.store import ScoredBatch, Store

DAY = ScoredBatch(
    pipeline="meters",
    batch="2026-03-01",
    version=1,
    bundle="b" * 64,
    fingerprint="f" * 64,
    read=3_000_000_000,
    scored=2_999_999_998,
    flagged=7,
    quarantined=2,
    policy={"fdr": 0.1, "level": 0.00123456789012345, "groups": ["north", "süd"]},
    scored_at=datetime(2026, 3, 2, 5, 0, 0, 123456, tzinfo=UTC),
)


def test_a_batch_is_read_as_it_was_put(store: Store) -> None:
    store.batches.put(DAY)
    assert store.batches.of("meters") == [DAY]
    assert store.batches.of("pumps") == []


def test_a_rerun_leaves_one_row_and_the_last_word(store: Store) -> None:
    later = replace(DAY, flagged=9, fingerprint="g" * 64, scored_at=DAY.scored_at + timedelta(hours=1))
    for batch in (DAY, DAY, later):
        store.batches.put(batch)
    assert store.batches.of("meters") == [later]


def test_batches_and_versions_are_told_apart_and_in_order(store: Store) -> None:
    others = [replace(DAY, version=version, batch=batch) for batch in ("b", "B", "a") for version in (10, 2)]
    for batch in others:
        store.batches.put(batch)
    names = [(batch.batch, batch.version) for batch in store.batches.of("meters")]
    assert names == [("B", 2), ("B", 10), ("a", 2), ("a", 10), ("b", 2), ("b", 10)]
    assert [batch.batch for batch in store.batches.of("meters", version=2)] == ["B", "a", "b"]
    assert [batch.version for batch in store.batches.of("meters", batch="a")] == [2, 10]


def test_numbers_of_numpy_and_other_time_zones_are_kept(store: Store) -> None:
    east = DAY.scored_at.astimezone(timezone(timedelta(hours=9)))
    store.batches.put(replace(DAY, flagged=np.int64(7), version=np.int32(1), scored_at=east))  # type: ignore[arg-type]
    (found,) = store.batches.of("meters")
    assert found == DAY
    assert found.scored_at.tzinfo is UTC


def test_what_cannot_be_kept_is_refused_and_changes_nothing(store: Store) -> None:
    store.batches.put(DAY)
    for wrong in (replace(DAY, policy={"level": float("nan")}), replace(DAY, scored_at=datetime(2026, 3, 2))):
        with pytest.raises(ValueError):
            store.batches.put(wrong)
    assert store.batches.of("meters") == [DAY]
