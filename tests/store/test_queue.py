from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flowguard.store import QueuedBatch, QueuedCase, QueuedRecord, Store, Tally, Verdict, Wanted

DAY = QueuedBatch(
    "meters", "monday", 1, "b", "f", 100, 99, 3, 1, {"note": "a\0b \ud800"}, datetime(2026, 3, 2, 5, tzinfo=UTC)
)


def _record(name: str, p_value: float, **changes: object) -> QueuedRecord:
    one = QueuedRecord("monday", name, 1, True, False, -p_value, p_value, f"Meter {name}", {"p": p_value})
    return replace(one, **changes)  # type: ignore[arg-type]


RECORDS = [
    _record("aa", 0.001, case_id="c1", marks=(("", "flow"), ("place", "Süd"))),
    _record("bb", 0.002, case_id="c1", marks=(("", "flow"), ("", "heat"), ("place", "Nord"))),
    _record(
        "cc", 0.001, score=5.0, search="Meter cc ÖSTERREICH", case_id="c2", marks=(("", "heat"), ("place", "Nord"))
    ),
    _record("dd", 0.5, flagged=False, audited=True),
]
CASES = [QueuedCase("c1", {"what": "flow too high"}), QueuedCase("c2", {"what": "heat too low"})]


@pytest.fixture
def store(tmp_path) -> Store:
    found = Store.open(f"sqlite:///{tmp_path}/flowguard.db")
    found.queue.put(DAY, RECORDS, CASES)
    return found


def _said(store: Store, name: str, decision: str | None, seen: int | None = None, batch: str = "monday") -> Verdict:
    entry = Verdict("meters", batch, name, 1, decision, "", "ada", 1.0, 0.001, flagged=name != "dd")  # type: ignore[arg-type]
    return store.verdicts.put(replace(entry, audited=name == "dd"), seen=seen)


def _names(store: Store, **wanted: object) -> list[str]:
    return [one.record_id for one in store.queue.records("meters", Wanted(**wanted), most=10)]  # type: ignore[arg-type]


def test_the_strangest_come_first_and_ties_by_score(store):
    assert _names(store) == ["cc", "aa", "bb"]
    assert [one.record_id for one in store.queue.stream("meters", Wanted(), at_once=1)] == ["cc", "aa", "bb"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"column": "heat"}, ["cc", "bb"]),
        ({"column": "heat", "context": {"place": "Nord"}}, ["cc", "bb"]),
        ({"column": "flow", "context": {"place": "Süd"}}, ["aa"]),
        ({"case_id": "c1"}, ["aa", "bb"]),
        ({"p_least": 0.0015}, ["bb"]),
        ({"p_most": 0.0015}, ["cc", "aa"]),
        ({"text": "METER bb"}, ["bb"]),
        ({"text": "österREICH"}, ["cc"]),
        ({"text": "aa"}, ["aa"]),
        ({"text": "%"}, []),
        ({"text": "a_"}, []),
        ({"version": 2}, []),
        ({"kind": "drawn"}, ["dd"]),
        ({"kind": "suppressed"}, []),
        ({"batch": "tuesday"}, []),
        ({"order": "key"}, ["aa", "bb", "cc"]),
        ({"order": "newest"}, ["cc", "aa", "bb"]),
    ],
)
def test_a_list_has_the_records_that_fulfil_every_condition(store, wanted, names):
    assert _names(store, **wanted) == names
    assert store.queue.count("meters", Wanted(**wanted)) == len(names)


def test_a_verdict_shows_at_once_and_taking_it_back_too(store):
    first = _said(store, "aa", "confirmed")
    assert _names(store, state="open") == ["cc", "bb"]
    assert _names(store, state="confirmed") == _names(store, state="decided") == ["aa"]
    [one] = store.queue.records("meters", Wanted(state="decided"), most=10)
    assert (one.decision, one.entry, one.who) == ("confirmed", first.id, "ada")
    _said(store, "aa", None, seen=first.id)
    assert _names(store, state="open") == ["cc", "aa", "bb"]


def test_a_batch_that_is_queued_again_keeps_what_was_decided(store):
    _said(store, "aa", "confirmed")
    store.queue.put(replace(DAY, version=2), [replace(one, version=2) for one in RECORDS], CASES)
    assert _names(store, state="confirmed", version=2) == ["aa"]
    assert store.queue.queued("meters") == {"monday": (2, "b", "f")}
    assert store.queue.count("meters", Wanted()) == 3


def test_a_verdict_counts_in_the_batch_it_was_given_on_and_is_known_in_the_others(store):
    tuesday = replace(DAY, batch="tuesday", scored_at=datetime(2026, 3, 3, tzinfo=UTC))
    store.queue.put(tuesday, [replace(RECORDS[0], batch="tuesday")], [])
    entry = _said(store, "aa", "confirmed", batch="tuesday")
    late, early = store.queue.deliveries("meters", "aa")
    assert (late.batch, late.decision, early.batch, early.decision) == ("tuesday", "confirmed", "monday", None)
    assert late.entry == early.entry == entry.id


def test_tallies_add_up_and_count_what_a_rule_keeps_away_apart(store):
    _said(store, "aa", "false_alarm")
    store.queue.set_rules("meters", "monday", {"bb": 7})
    assert store.queue.tallies("meters") == {
        "monday": Tally(open=1, false_alarm=1, suppressed=1, drawn=1, drawn_open=1),
    }
    assert _names(store, kind="suppressed") == ["bb"]
    _said(store, "dd", "confirmed")
    assert store.queue.tallies("meters", "monday")["monday"].drawn_open == 0


def test_cases_say_how_many_of_their_records_are_open(store):
    _said(store, "aa", "confirmed")
    assert [(one.case_id, one.records, one.open) for one in store.queue.cases("meters", "monday")] == [
        ("c1", 2, 1),
        ("c2", 1, 1),
    ]
    assert store.queue.open_cases("meters") == {"monday": 2}


def test_what_lies_beside_a_record_follows_the_order_of_the_list(store):
    first, second, third = store.queue.records("meters", Wanted(), most=3)
    assert store.queue.beside("meters", Wanted(), second) == (first, third)
    assert store.queue.beside("meters", Wanted(), first)[0] is None
    assert store.queue.beside("meters", Wanted(column="heat"), second) == (first, third)


def test_marks_are_counted_by_name(store):
    assert store.queue.marks("meters", "monday") == {"": {"flow": 2, "heat": 2}, "place": {"Nord": 2, "Süd": 1}}


def test_hostile_text_is_kept_as_every_database_can(store):
    odd = _record("ee", 0.01, search="zero\0 half \ud800" + "x" * 10_000, marks=((" \0", "y" * 10_000),))
    store.queue.put(DAY, [odd], [])
    [one] = store.queue.records("meters", Wanted(text="zero\0"), most=2)
    assert one.search.startswith("zero� half �xx")
    assert len(one.search) == 500
    assert store.queue.batch("meters", "monday").document == {"note": "a\0b \ud800"}
