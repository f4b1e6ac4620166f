"""What holds of a store on SQLite as on PostgreSQL; `url` is a database without a store in it."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from flowguard.errors import InputError, StoreError
from flowguard.store import Change, Reservation, Store, Verdict
from flowguard.store.schema import METADATA, REVISIONS
from tests.store.racing import decide, kill_within, lond, open_it, promote, race, reserve_all, reserve_and_hang, tell


def first_opens_may_race(url: str) -> None:
    assert len(set(race(open_it, url, processes=3))) == 1
    models_and_migrations_agree(Store.open(url))


def models_and_migrations_agree(store: Store) -> None:
    with store.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": REVISIONS, "compare_type": True})
        assert compare_metadata(context, METADATA) == []


def racing_decisions_are_in_one_order(url: str) -> None:
    Store.open(url)
    answers = race(reserve_all, url)
    rows = Store.open(url).budgets.of("meters", "fdr 0.1")
    assert len(rows) == 8 * 3
    spent = 0
    for position, row in enumerate(rows, start=1):
        assert (row.t, row.discoveries_before) == (position, spent)
        assert (row.discoveries, row.level) == lond(position, spent)
        spent += row.discoveries
    by_batch = {row.batch: row for row in rows}
    for answer in answers:
        assert isinstance(answer, list)
        for made in answer:
            assert isinstance(made, Reservation)
            assert made == by_batch[made.batch]


def of_racing_changes_one_wins(url: str) -> None:
    aliases = Store.open(url).aliases
    aliases.record("meters", "champion", expected_from=None, to=1, who="ada", why="the first")
    answers = race(promote, url)
    (won,) = (answer for answer in answers if isinstance(answer, Change))
    (lost,) = (answer for answer in answers if isinstance(answer, str))
    assert won == aliases.latest("meters", "champion")
    assert won.sequence == 2
    assert f"{won.who} changed it from version 1 to version {won.to_version} on {won.changed_at:%Y-%m-%d at}" in lost


def of_racing_messages_one_is_sent(url: str) -> None:
    Store.open(url)
    answers = race(tell, url)
    given = [subject for answer in answers if isinstance(answer, list) for subject in answer]
    assert len(given) == len(set(given))
    notices = Store.open(url).notices
    waiting = {one.subject for one in notices.of("meters") if one.state == "waiting"}
    assert waiting.isdisjoint(given)
    assert waiting | set(given) == {f"batch {step}" for step in range(10)}


def a_killed_decision_spends_nothing(url: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    kill_within(reserve_and_hang, [url, str(inside)], inside)
    budgets = Store.open(url).budgets
    assert [row.batch for row in budgets.of("meters", "fdr 0.1")] == ["monday"]
    tuesday = budgets.reserve("meters", "fdr 0.1", batch="tuesday", records=10, decide=lond)
    assert (tuesday.t, tuesday.discoveries_before) == (2, lond(1, 0)[0])


def verdict(record_id: str = "one", **changes: object) -> Verdict:
    plain = Verdict("meters", "monday", record_id, 1, "confirmed", "", "ada", score=9.25, p_value=0.001, flagged=True)
    return replace(plain, **changes)  # type: ignore[arg-type]


def of_racing_verdicts_one_wins(url: str) -> None:
    Store.open(url)
    answers = race(decide, url, processes=3, answers=2)
    lost = [answer for answer in answers if isinstance(answer, str)]
    won = [answer for answer in answers if isinstance(answer, Verdict)]
    (shared,) = (one for one in won if one.record_id == "shared")
    assert len(won) == 4
    assert len(lost) == 2
    for said in lost:
        assert f"{shared.who} decided confirmed on {shared.at:%Y-%m-%d at %H:%M:%S} UTC" in said
        assert "Nothing was written" in said
    entries = Store.open(url).verdicts.histories("meters")
    assert sorted(one.id for history in entries.values() for one in history) == [1, 2, 3, 4]


def verdicts_are_kept_as_they_were_given(url: str) -> None:
    store = Store.open(url)
    put = store.verdicts.put
    at = datetime(2026, 3, 2, 7, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    hostile = "<script>alert(1)</script>\n=1+1\t'; DROP TABLE verdicts; --\x1b[31m\u202e 😀 " + "x" * 9_000
    first = put(verdict(note=hostile, who="ada \u202e", at=at, score=float("inf")), seen=None)
    assert (first.id, first.note, first.at) == (1, hostile, at.astimezone(UTC))
    second = put(verdict(decision=None, undoes=1), seen=1)
    other = put(verdict("two", decision="unsure", version=2, flagged=False, audited=True, case_id="c"), seen=None)
    elsewhere = put(verdict(pipeline="pumps"), seen=None)
    assert (second.id, other.id, elsewhere.id) == (2, 3, 1)
    assert store.verdicts.history("meters", "one") == [first, second]
    assert store.verdicts.histories("meters") == {"one": [first, second], "two": [other]}
    assert store.verdicts.latest("meters") == {"one": second, "two": other}
    assert store.verdicts.latest("meters", ["two", "three", "two"]) == {"two": other}
    assert store.verdicts.latest("meters", []) == {}
    assert store.verdicts.of("meters") == [other], "what was taken back does not stand"
    assert store.verdicts.confirmed("meters") == {}
    assert store.verdicts.confirmed("pumps") == {"one": 1}
    third = put(verdict("two", version=2), seen=3)
    assert store.verdicts.confirmed("meters") == {"two": third.id}
    put(verdict("two", decision="unsure", version=2), seen=third.id)
    assert store.verdicts.confirmed("meters") == {}
    assert store.verdicts.of("meters", version=1) == []
    for note in ("zero \0", "half \udcff"):
        with pytest.raises(InputError, match="no database"):
            put(verdict("three", note=note), seen=None)


def a_case_is_decided_whole_or_not_at_all(url: str) -> None:
    verdicts = Store.open(url).verdicts
    names = [f"record {number}" for number in range(1200)]
    mine = [verdict(name, case_id="c") for name in names]
    first = verdicts.put(verdict(names[700], who="bob", decision="false_alarm"), seen=None)
    with pytest.raises(StoreError) as caught:
        verdicts.put_all(mine, seen={})
    assert f"1 of the 1,200 records have a verdict that these have not seen: record record 700: {first}" in str(
        caught.value
    )
    assert verdicts.latest("meters") == {names[700]: first}
    stored = verdicts.put_all(mine, seen={names[700]: first.id})
    assert [one.id for one in stored] == list(range(2, 1202))
    assert verdicts.latest("meters", names) == {one.record_id: one for one in stored}
    assert verdicts.history("meters", names[700]) == [first, stored[700]]


def users_are_kept_and_removed(url: str) -> None:
    users = Store.open(url).users
    assert users.all() == []
    assert users.find("ada") is None
    zoe = users.put("zoë@example.org", "viewer", "", by="root")
    ada = users.put("ada", "reviewer", "$argon2id$one", by="root")
    assert users.all() == [ada, zoe]
    changed = users.put("ada", "admin", "$argon2id$two", by="ada")
    assert users.find("ada") == changed
    assert changed.changed_at >= ada.changed_at
    assert users.remove("ada") is True
    assert users.remove("ada") is False
    assert users.all() == [zoe]


def a_batch_is_taken_by_one_at_a_time(url: str) -> None:
    store = Store.open(url)
    done: list[str] = []

    def put_in_place() -> None:
        with store.pruning.alone("meters", "monday"):
            done.append("put in place")

    def decide_on_it() -> None:
        store.verdicts.put(verdict("00ff", batch="monday"), seen=None)
        done.append("decided on")

    for other, said in ((put_in_place, "put in place"), (decide_on_it, "decided on")):
        done.clear()
        with store.pruning.taking("meters", "monday") as judged:
            assert judged == frozenset()
            waiting = threading.Thread(target=other)
            waiting.start()
            waiting.join(0.3)
            done.append("taken")
        waiting.join(30)
        assert done == ["taken", said]
    with store.pruning.taking("meters", "monday") as judged:
        assert judged == {1}
    with store.pruning.taking("meters", "tuesday") as judged:
        assert judged == frozenset()
