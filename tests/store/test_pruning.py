"""What pruning asks the store and takes from it: references first, and nothing that changed meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from flowguard.store import Alarm, DriftRecord, QueuedBatch, QueuedCase, QueuedRecord, Store, Verdict
from flowguard.store.schema import (
    ALARMS,
    QUEUED_CASES,
    QUEUED_DOCUMENTS,
    QUEUED_MARKS,
    QUEUED_RECORDS,
)
from tests.store import laws

AT = datetime(2026, 3, 2, 5, tzinfo=UTC)
DAY = QueuedBatch("meters", "monday", 1, "b", "f", 10, 10, 1, 0, document={}, scored_at=AT)
ODD = QueuedRecord("monday", "00ff", 1, True, False, 9.1, 0.001, "meter 7", {}, case_id="c", marks=(("", "flow"),))
WORD = Verdict("meters", "monday", "00ff", 1, "confirmed", "a burst pipe", "ada", 9.1, 0.001, flagged=True)


def queue(store: Store, *batches: QueuedBatch) -> None:
    for one in batches:
        store.queue.put(one, [replace(ODD, batch=one.batch)], [QueuedCase("c", {})])


def rows(store: Store, *tables: object) -> list[int]:
    with store.database.reading() as connection:
        return [connection.execute(select(func.count()).select_from(one)).scalar_one() for one in tables]


def test_verdicts_refer_to_batches_and_versions_even_taken_back(store: Store) -> None:
    first = store.verdicts.put(WORD, seen=None)
    store.verdicts.put(replace(WORD, decision=None, undoes=first.id), seen=first.id)
    store.verdicts.put(replace(WORD, batch="tuesday", version=3, record_id="11ff"), seen=None)
    store.verdicts.put(replace(WORD, pipeline="pumps", batch="friday"), seen=None)
    assert store.pruning.judged("meters") == {("monday", 1), ("tuesday", 3)}
    with store.pruning.taking("meters", "monday") as judged:
        assert judged == {1}
    with store.pruning.taking("meters", "friday") as judged:
        assert judged == frozenset()


def test_a_batch_leaves_the_queue_with_all_that_is_its_and_verdicts_stay(store: Store) -> None:
    queue(store, DAY, replace(DAY, batch="tuesday"), replace(DAY, pipeline="pumps"))
    entry = store.verdicts.put(WORD, seen=None)
    tables = (QUEUED_RECORDS, QUEUED_DOCUMENTS, QUEUED_MARKS, QUEUED_CASES)
    assert rows(store, *tables) == [3] * 4
    assert store.pruning.take_queued("meters", "monday", AT)
    assert rows(store, *tables) == [2] * 4
    assert [one.batch for one in store.queue.batches("meters")] == ["tuesday"]
    assert [one.batch for one in store.queue.batches("pumps")] == ["monday"]
    assert store.verdicts.history("meters", "00ff") == [entry]
    assert not store.pruning.take_queued("meters", "monday", AT), "it is not there"


def test_a_batch_that_was_scored_again_stays_in_the_queue(store: Store) -> None:
    queue(store, replace(DAY, scored_at=AT + timedelta(hours=1)))
    assert not store.pruning.take_queued("meters", "monday", AT)
    assert store.queue.batch("meters", "monday") is not None


def test_the_drift_of_one_version_is_forgotten(store: Store) -> None:
    seen = DriftRecord("meters", "monday", 1, {}, (Alarm("power", "ks", 0.3),), AT)
    for one in (seen, replace(seen, batch="tuesday"), replace(seen, version=2), replace(seen, pipeline="pumps")):
        store.drift.put(one)
    store.pruning.take_drift("meters", 1)
    assert store.drift.of("meters") == [replace(seen, version=2)]
    assert len(store.drift.of("pumps")) == 1
    assert rows(store, ALARMS) == [2]


def test_a_batch_is_taken_by_one_at_a_time(url: str) -> None:
    laws.a_batch_is_taken_by_one_at_a_time(url)
