"""Totals: what the rows of a pipeline add up to, of one pipeline alone, as the tables themselves say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from flowguard.store import Alarm, DriftRecord, Observed, Rule, Scored, ScoredBatch, Store, Tally, Total, Verdict
from tests.store.test_queue import DAY, RECORDS

AT = datetime(2026, 3, 2, 5, tzinfo=UTC)
BATCH = ScoredBatch("meters", "monday", 1, "b", "f", 100, 99, 3, 1, {"false_alarm_rate": 0.01}, AT)
DRIFT = DriftRecord("meters", "monday", 1, {"record": {"n": 1}}, (), AT)


def test_nothing_remembered_is_nothing(store: Store) -> None:
    assert store.totals.of("meters") == Total({}, None, {}, None, None, Tally(), None, {}, 0, None)


def test_batches_are_summed_by_version_and_the_last_one_is_whole(store: Store) -> None:
    for batch in (
        BATCH,
        replace(BATCH, batch="tuesday", read=10, scored=10, flagged=1, quarantined=0, scored_at=AT + timedelta(days=1)),
        replace(BATCH, version=2, flagged=5, scored_at=AT + timedelta(hours=1)),
        replace(BATCH, pipeline="orders", scored_at=AT + timedelta(days=9)),
    ):
        store.batches.put(batch)
    found = store.totals.of("meters")
    assert found.scored == {1: Scored(2, 110, 109, 4, 1), 2: Scored(1, 100, 99, 5, 1)}
    assert all(type(count) is int for one in found.scored.values() for count in vars(one).values())
    assert found.last == store.batches.of("meters", batch="tuesday")[0]


def test_of_batches_scored_in_one_moment_the_last_by_name_is_the_last(store: Store) -> None:
    for name in ("b", "c", "a"):
        store.batches.put(replace(BATCH, batch=name))
    last = store.totals.of("meters").last
    assert last is not None
    assert last.batch == "c"


def test_a_batch_that_raised_several_alarms_counts_once(store: Store) -> None:
    rung = (Alarm("power", "shift", 5.0), Alarm("flow", "shift", 4.0))
    for record in (
        DRIFT,
        replace(DRIFT, batch="tuesday", alarms=rung, measured_at=AT + timedelta(days=1)),
        replace(DRIFT, batch="wednesday", document={"record": {"n": 3}}, measured_at=AT + timedelta(days=2)),
        replace(DRIFT, version=2),
        replace(DRIFT, pipeline="orders", alarms=rung, measured_at=AT + timedelta(days=9)),
    ):
        store.drift.put(record)
    found = store.totals.of("meters")
    assert found.observed == {1: Observed(3, 1), 2: Observed(1, 0)}
    assert found.drift == {"record": {"n": 3}}
    assert found.alarmed_at == AT + timedelta(days=1)


def test_the_queue_is_counted_as_the_desk_counts_it(store: Store) -> None:
    store.queue.put(DAY, RECORDS, [])
    later = replace(DAY, batch="tuesday", scored_at=DAY.scored_at + timedelta(days=1))
    store.queue.put(later, [replace(one, batch="tuesday", record_id=f"t{one.record_id}") for one in RECORDS], [])
    store.queue.put(replace(DAY, pipeline="orders", scored_at=AT - timedelta(days=9)), RECORDS, [])
    store.queue.set_rules("meters", "monday", {"aa": 1})
    entry = Verdict("meters", "monday", "bb", 1, "confirmed", "", "ada", 1.0, 0.001, flagged=True)
    store.verdicts.put(entry, seen=None)
    found = store.totals.of("meters")
    each = store.queue.tallies("meters").values()
    assert found.queue == Tally(*(sum(counts) for counts in zip(*(vars(one).values() for one in each))))
    assert found.queue == Tally(open=4, confirmed=1, suppressed=1, drawn=2, drawn_open=2)
    assert found.open_since == DAY.scored_at, "cc is open"
    store.verdicts.put(replace(entry, record_id="cc", decision="unsure"), seen=None)
    assert store.totals.of("meters").open_since == later.scored_at, "a drawn and a suppressed record wait for nobody"
    undone = replace(entry, decision=None, undoes=1)
    store.verdicts.put(undone, seen=1)
    assert store.totals.of("meters").verdicts == {"confirmed": 1, "unsure": 1, "undone": 1}


def test_rules_count_from_when_they_are_made_until_they_end_or_are_revoked(store: Store) -> None:
    made = Rule("meters", {"columns": {"flow": {}}}, "a test", "ada", AT, AT + timedelta(days=10))
    store.rules.put(made)
    store.rules.put(made)
    store.rules.revoke("meters", 2, who="ada", at=AT + timedelta(days=5))
    days = (-1, 0, 4, 5, 9, 10)
    counted = [store.totals.of("meters", at=AT + timedelta(days=day)).rules for day in days]
    assert counted == [0, 2, 2, 1, 1, 0]
    assert counted == [len(store.rules.active("meters", AT + timedelta(days=day))) for day in days]


def test_the_champion_is_promoted_when_its_alias_was_last_set(store: Store) -> None:
    store.aliases.record("meters", "champion", expected_from=None, to=1, who="ada", why="the first")
    last = store.aliases.record("meters", "champion", expected_from=1, to=2, who="ada", why="better")
    store.aliases.record("meters", "challenger", expected_from=None, to=3, who="ada", why="trained")
    assert store.totals.of("meters").promoted_at == last.changed_at
