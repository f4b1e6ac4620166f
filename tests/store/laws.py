"""What holds of a store on SQLite as on PostgreSQL; `url` is a database without a store in it."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from flowguard.store import Change, Reservation, Store
from flowguard.store.schema import METADATA, REVISIONS
from tests.store.racing import kill_within, lond, open_it, promote, race, reserve_all, reserve_and_hang


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


def a_killed_decision_spends_nothing(url: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    kill_within(reserve_and_hang, [url, str(inside)], inside)
    budgets = Store.open(url).budgets
    assert [row.batch for row in budgets.of("meters", "fdr 0.1")] == ["monday"]
    tuesday = budgets.reserve("meters", "fdr 0.1", batch="tuesday", records=10, decide=lond)
    assert (tuesday.t, tuesday.discoveries_before) == (2, lond(1, 0)[0])
