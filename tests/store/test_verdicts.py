"""Verdicts: added, never changed; nobody overwrites what they have not seen."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic import command

from flowguard.errors import InputError, StoreError
from flowguard.store import Store
from tests.store import laws
from tests.store.laws import verdict


def test_of_racing_verdicts_one_wins(url: str) -> None:
    laws.of_racing_verdicts_one_wins(url)


def test_verdicts_are_kept_as_they_were_given(url: str) -> None:
    laws.verdicts_are_kept_as_they_were_given(url)


def test_a_case_is_decided_whole_or_not_at_all(url: str) -> None:
    laws.a_case_is_decided_whole_or_not_at_all(url)


def test_who_has_not_seen_the_latest_entry_is_told_who_when_and_what(store: Store) -> None:
    first = store.verdicts.put(verdict(decision="false_alarm", note="a meter was changed", who="bob"), seen=None)
    with pytest.raises(StoreError) as caught:
        store.verdicts.put(verdict(), seen=None)
    text = str(caught.value)
    assert f"bob decided false alarm on {first.at:%Y-%m-%d at %H:%M:%S} UTC (a meter was changed) (entry 1)" in text
    assert "Nothing was written" in text
    second = store.verdicts.put(verdict(), seen=first.id)
    with pytest.raises(StoreError, match=r"ada decided confirmed .*\(entry 2\)"):
        store.verdicts.put(verdict(who="bob"), seen=first.id)
    assert store.verdicts.history("meters", "one") == [first, second]
    with pytest.raises(InputError, match="has no verdict yet, so entry 7"):
        store.verdicts.put(verdict("two"), seen=7)


def test_many_that_were_not_seen_are_told_in_a_paragraph(store: Store) -> None:
    for number in range(9):
        store.verdicts.put(verdict(str(number), note="n" * 5_000), seen=None)
    with pytest.raises(StoreError, match="and 6 more") as caught:
        store.verdicts.put_all([verdict(str(number)) for number in range(9)], seen={})
    assert len(str(caught.value)) < 2_000


def test_the_key_stops_a_race_that_nothing_else_has(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.verdicts.put(verdict(who="bob"), seen=None)
    real, looks = store.verdicts.latest("meters"), iter([{}])
    with monkeypatch.context() as patched:
        patched.setattr("flowguard.store.verdicts.latest_entries", lambda *_: next(looks, real))
        patched.setattr("flowguard.store.verdicts._plain", lambda one, at: laws.replace(one, id=1))
        with pytest.raises(StoreError, match="bob decided confirmed"):
            store.verdicts.put(verdict(), seen=None)
    assert store.verdicts.latest("meters") == real


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"who": " "}, InputError, "who decided"),
        ({"note": "x" * 10_001}, InputError, "10,001 characters"),
        ({"who": "x" * 201}, InputError, "name of a verdict has 201"),
        ({"note": "\0"}, InputError, "no database"),
        ({"note": "\udcff"}, InputError, "no database"),
        ({"decision": "maybe"}, ValueError, "one of confirmed"),
        ({"at": datetime(2026, 3, 1)}, ValueError, "no time zone"),
        ({"p_value": float("nan")}, ValueError, "nothing to judge"),
        ({"audited": True}, ValueError, "only unflagged"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    store: Store, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        store.verdicts.put(verdict(**changes), seen=None)
    assert store.verdicts.latest("meters") == {}


def test_entries_of_one_write_are_of_one_pipeline_and_of_one_record_each(store: Store) -> None:
    assert store.verdicts.put_all([], seen={}) == []
    for pair in ([verdict(), verdict()], [verdict(), verdict("two", pipeline="pumps")]):
        with pytest.raises(ValueError, match="one pipeline"):
            store.verdicts.put_all(pair, seen={})


def test_numbers_of_numpy_are_kept_as_numbers(store: Store) -> None:
    stored = store.verdicts.put(
        verdict(version=np.int64(3), score=np.float32(1.5), p_value=np.float64(0.5), flagged=np.bool_(True)), seen=None
    )
    assert store.verdicts.history("meters", "one") == [stored]
    assert stored.version == 3


def test_a_store_of_the_release_before_keeps_what_it_holds(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = command.upgrade
    with monkeypatch.context() as patched:
        patched.setattr(command, "upgrade", lambda config, _: whole(config, "0001"))
        old = Store.open(url)
    old.aliases.record("meters", "champion", expected_from=None, to=1, who="ada", why="the first")
    with closing(sqlite3.connect(tmp_path / "flowguard.db")) as base:
        assert base.execute("SELECT name FROM sqlite_master WHERE name = 'verdicts'").fetchall() == []
    now = Store.open(url)
    laws.models_and_migrations_agree(now)
    assert len(now.aliases.of("meters")) == 1
    assert now.verdicts.latest("meters") == {}
