"""The alias journal: entries follow on each other, and whoever comes second is told who was first."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert

from flowguard.errors import InputError, StoreError
from flowguard.store import Change, Store
from flowguard.store.database import Database
from flowguard.store.schema import ALIASES
from tests.store import laws


def test_changes_are_kept_in_their_order(store: Store) -> None:
    before = datetime.now(UTC)
    record = store.aliases.record
    made = [
        record("meters", "champion", expected_from=None, to=1, who="ada", why="the first"),
        record("meters", "challenger", expected_from=None, to=2, who="bob", why="newer"),
        record("meters", "champion", expected_from=1, to=2, who="ada", why="fewer false alarms"),
        record("meters", "challenger", expected_from=2, to=None, who="ada", why="promoted"),
    ]
    assert [change.sequence for change in made] == [1, 1, 2, 2]
    assert store.aliases.of("meters") == made
    assert store.aliases.of("meters", "champion") == [made[0], made[2]]
    assert store.aliases.latest("meters", "challenger") == made[3]
    assert store.aliases.latest("pumps", "champion") is None
    assert all(before <= change.changed_at <= datetime.now(UTC) for change in made)


def test_the_first_entry_says_from_where(store: Store) -> None:
    change = store.aliases.record("meters", "champion", expected_from=3, to=4, who="ada", why="better")
    assert (change.sequence, change.from_version, change.to_version) == (1, 3, 4)


@pytest.mark.parametrize(("latest", "expected", "words"), [(2, 1, "version 2"), (None, 2, "no version")])
def test_who_comes_too_late_is_told_who_changed_it_and_when(
    store: Store, latest: int | None, expected: int, words: str
) -> None:
    done = store.aliases.record("meters", "champion", expected_from=1, to=latest, who="ada", why="fewer false alarms")
    with pytest.raises(StoreError) as caught:
        store.aliases.record("meters", "champion", expected_from=expected, to=3, who="bob", why="mine")
    text = str(caught.value)
    assert f"The champion of meters is {words} by the alias journal, not version {expected}" in text
    assert f"ada changed it from version 1 to {words} on {done.changed_at:%Y-%m-%d at %H:%M:%S} UTC" in text
    assert "fewer false alarms" in text
    assert store.aliases.of("meters") == [done]


@pytest.mark.parametrize(("who", "why"), [("", "better"), ("ada", " ")])
def test_a_change_says_who_and_why(store: Store, who: str, why: str) -> None:
    with pytest.raises(InputError, match="for the journal"):
        store.aliases.record("meters", "champion", expected_from=None, to=1, who=who, why=why)
    assert store.aliases.of("meters") == []


def test_of_racing_changes_one_wins(url: str) -> None:
    laws.of_racing_changes_one_wins(url)


def test_the_key_of_the_journal_stops_a_race_that_nothing_else_has(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.aliases.record("meters", "champion", expected_from=None, to=1, who="ada", why="the first")
    second = store.aliases.record("meters", "champion", expected_from=1, to=2, who="ada", why="better")
    answers = iter([first, second])  # the first look was before the second change

    monkeypatch.setattr("flowguard.store.aliases._latest", lambda *_: next(answers))
    with pytest.raises(StoreError, match="ada changed it from version 1 to version 2"):
        store.aliases.record("meters", "champion", expected_from=1, to=3, who="bob", why="mine")


def test_a_row_is_written_whole_or_not_at_all(store: Store) -> None:
    database: Database = store.database
    row = Change("meters", "champion", 1, None, 1, "ada", "the first", datetime.now(UTC))

    def stopped() -> None:
        with database.writing(lock="x") as connection:
            connection.execute(insert(ALIASES).values(**vars(row)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert store.aliases.of("meters") == []
