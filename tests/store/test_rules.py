"""Rules: numbered in each pipeline, with an end, revoked once, never changed otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from flowguard.errors import InputError
from flowguard.store import LASTS, LONGEST, Rule, Store
from tests.store.racing import race, revoke_one

NOW = datetime(2026, 3, 2, 7, tzinfo=UTC)


def rule(**changes: Any) -> Rule:
    columns = {"flow": {"is": "above", "at_most": 90.5}, "air": {}}
    scope = {"columns": columns, "where": {"site": ["north", "Zürich 😀"]}}
    return replace(Rule("meters", scope, "spring cleaning", "ada", NOW, NOW + LASTS), **changes)


def test_rules_are_kept_as_they_were_made_and_counted_in_each_pipeline(store: Store) -> None:
    east = timezone(timedelta(hours=2))
    first = store.rules.put(rule(made_at=NOW.astimezone(east)))
    second = store.rules.put(rule(why="'; DROP TABLE rules; -- <script>", expires_at=NOW + timedelta(days=1)))
    other = store.rules.put(rule(pipeline="pumps"))
    assert (first.id, second.id, other.id) == (1, 2, 1)
    assert first == rule(id=1)
    assert store.rules.all("meters") == [first, second]
    assert list(store.rules.all("meters")[0].scope["columns"]) == ["flow", "air"], "in the order they were given"
    assert [one.id for one in store.rules.active("meters", NOW + timedelta(days=2))] == [1]
    assert store.rules.active("meters", NOW - timedelta(seconds=1)) == []
    assert store.rules.all("valves") == []


def test_a_rule_counts_from_when_it_was_made_until_it_ends_or_is_revoked(store: Store) -> None:
    made = store.rules.put(rule())
    assert made.active(NOW)
    assert not made.active(NOW + LASTS)
    gone = store.rules.revoke("meters", 1, who="bob", at=NOW + timedelta(days=3))
    assert gone.active(NOW + timedelta(days=2)), "what it kept away then, it kept away"
    assert not gone.active(NOW + timedelta(days=3))
    assert store.rules.all("meters") == [gone]
    with pytest.raises(InputError, match=r"revoked by bob on 2026-03-05 at 07:00:00 UTC already"):
        store.rules.revoke("meters", 1, who="ada")
    with pytest.raises(InputError, match="has no rule 7: there are rules 1 to 1"):
        store.rules.revoke("meters", 7, who="ada")
    with pytest.raises(InputError, match="there is none yet"):
        store.rules.revoke("pumps", 1, who="ada")
    store.rules.put(rule())
    with pytest.raises(InputError, match="expired on 2026-05-31"):
        store.rules.revoke("meters", 2, who="ada", at=NOW + LONGEST)


def test_of_those_who_revoke_at_once_one_does(url: str) -> None:
    now = datetime.now(UTC)
    Store.open(url).rules.put(rule(made_at=now, expires_at=now + LASTS))
    answers = race(revoke_one, url)
    won, lost = sorted(answers, key=lambda answer: isinstance(answer, str))
    assert isinstance(won, Rule)
    assert f"revoked by {won.revoked_by}" in str(lost)
    assert Store.open(url).rules.all("meters") == [won]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"who": " "}, InputError, "who made"),
        ({"why": ""}, InputError, "why what it keeps away is ordinary"),
        ({"why": "x" * 2001}, InputError, "2,001 characters"),
        ({"why": "\0"}, InputError, "no database"),
        ({"who": "\udcff"}, InputError, "no database"),
        ({"expires_at": NOW}, InputError, "A rule ends"),
        ({"expires_at": NOW + LONGEST + timedelta(seconds=1)}, InputError, "after 1 to 366 days"),
        ({"scope": {"where": {"id": list(range(10_000))}}}, InputError, "scope of the rule has"),
        ({"made_at": datetime(2026, 3, 1)}, ValueError, "no time zone"),
        ({"id": 3}, ValueError, "no id yet"),
        ({"revoked_by": "ada"}, ValueError, "not revoked"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    store: Store, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        store.rules.put(rule(**changes))
    assert store.rules.all("meters") == []
