"""The scope of a rule: never a record that has anything else wrong with it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.errors import InputError
from flowguard.explain.leading import leading
from flowguard.explain.reason import Reason
from flowguard.explain.words import MISSING, REDACTED
from flowguard.review import Scope, first_covering
from flowguard.store import LASTS, Rule

NOW = datetime(2026, 3, 2, 7, tzinfo=UTC)


def reason(column: str, observed: float | None = 90.0, *, rank: int = 1, nats: float = 20.0, **more: Any) -> Reason:
    text = str(observed) if observed is not None else MISSING
    plain = Reason("00ff", rank, column, nats, nats, observed, text, 10.0, 50.0, "", contrast=nats)
    return replace(plain, **more)


def scope(**columns: Any) -> Scope:
    return Scope.read({"columns": columns})


LATE = scope(dep_delay={"is": "above", "at_most": 1500}, arr_delay={"is": "above"})


def test_every_leading_reason_has_to_lie_in_the_scope() -> None:
    assert LATE.covers([reason("dep_delay")], {})
    assert LATE.covers([reason("dep_delay"), reason("arr_delay", rank=2)], {})
    assert not LATE.covers([reason("dep_delay"), reason("air_time", rank=2)], {}), "another oddity is told"
    assert not LATE.covers([reason("air_time")], {})
    small = reason("air_time", rank=2, nats=1.0)
    assert LATE.covers([reason("dep_delay"), small], {}), "what does not lead is no oddity"
    assert not LATE.covers([reason("dep_delay"), replace(small, share=math.nan, contrast=None)], {})
    assert not LATE.covers([], {}), "of a record without reasons nothing is known"


def test_directions_and_bounds_hold() -> None:
    assert LATE.covers([reason("dep_delay", 1500.0)], {})
    assert not LATE.covers([reason("dep_delay", 1500.1)], {}), "stranger than the bound"
    assert not LATE.covers([reason("dep_delay", 1.0)], {}), "below is another thing"
    assert not LATE.covers([reason("dep_delay", None)], {})
    assert scope(dep_delay={"is": "missing"}).covers([reason("dep_delay", None)], {})
    level = reason("channel", None, observed_text="fax", low=None, high=None)
    assert scope(channel={"is": "level"}).covers([level], {})
    assert not scope(channel={"is": "missing"}).covers([level], {})
    any_way = scope(dep_delay=None)
    for observed in (1.0, 30.0, 90.0, None):
        assert any_way.covers([reason("dep_delay", observed)], {})
    hidden = reason("dep_delay", None, observed_text=REDACTED)
    assert any_way.covers([hidden], {})
    assert not scope(dep_delay={"at_most": 1500}).covers([hidden], {}), "what is not known is not within bounds"
    assert not scope(dep_delay={"at_most": 1500}).covers([reason("dep_delay", None)], {})
    assert not LATE.covers([hidden], {})


def test_of_a_pair_both_columns_have_to_lie_in_the_scope() -> None:
    first, second = reason("dep_delay", partner="air_time"), reason("air_time", rank=2, partner="dep_delay")
    assert not LATE.covers([first], {})
    assert not LATE.covers([first, replace(second, share=0.1)], {}), "though the other does not lead by itself"
    both = scope(dep_delay={"is": "above"}, air_time={"is": "above"})
    assert both.covers([first, second], {})
    assert not both.covers([first, replace(second, observed=1.0)], {})
    assert not both.covers([first], {}), "which way the other is wrong was not written"
    assert scope(dep_delay={"is": "above"}, air_time={}).covers([first], {})


def test_where_there_may_be_more_reasons_than_were_written_the_record_is_told() -> None:
    two = [reason("dep_delay"), reason("arr_delay", rank=2)]
    assert LATE.covers(two, {}, most=3)
    assert not LATE.covers(two, {}, most=2)
    assert LATE.covers([two[0], reason("arr_delay", rank=2, nats=1.0)], {}, most=2), "a third is weaker still"
    # The next one could have a larger share than this.
    assert not LATE.covers([two[0], replace(two[1], share=0.1)], {}, most=2)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0.01, 100)), min_size=1, max_size=4), st.integers(1, 4))
def test_what_is_cut_is_never_covered_unless_the_whole_is(given: list[tuple[str, float]], most: int) -> None:
    ranked = sorted(dict(given).items(), key=lambda one: -one[1])
    whole = [reason(name, rank=rank, nats=nats) for rank, (name, nats) in enumerate(ranked, start=1)]
    wide = scope(a=None, b=None)
    if wide.covers(whole[:most], {}, most=most):
        assert {one.column for one in leading(whole)} <= {"a", "b"}


@pytest.mark.parametrize(
    ("where", "values", "holds"),
    [
        ({"carrier": ["HA", "AS"]}, {"carrier": "AS"}, True),
        ({"carrier": ["HA"]}, {"carrier": "ha"}, False),
        ({"carrier": "HA"}, {"carrier": "HA"}, True),
        ({"carrier": ["HA"]}, {}, False),
        ({"carrier": [None]}, {"carrier": None}, True),
        ({"carrier": [None]}, {"carrier": float("nan")}, True),
        ({"carrier": [None]}, {}, False),
        ({"flight": [1499]}, {"flight": 1499.0}, True),
        ({"flight": [1499]}, {"flight": "1499"}, True),
        ({"flight": ["1499"]}, {"flight": np.int64(1499)}, True),
        ({"night": [True]}, {"night": True}, True),
        ({"night": ["true"]}, {"night": np.bool_(True)}, True),
        ({"hour": {"at_least": 0, "at_most": 6}}, {"hour": 6}, True),
        ({"hour": {"at_least": 0, "at_most": 6}}, {"hour": "6.5"}, False),
        ({"hour": {"at_least": 0}}, {"hour": None}, False),
        ({"hour": {"at_least": 0}}, {"hour": float("nan")}, False),
        ({"hour": {"at_least": 0}}, {"hour": "noon"}, False),
        ({"hour": {"at_most": 6}, "carrier": ["HA"]}, {"hour": 1, "carrier": "DL"}, False),
    ],
)
def test_every_condition_has_to_hold(where: dict[str, Any], values: dict[str, Any], holds: bool) -> None:
    mine = Scope.read({"columns": {"dep_delay": {}}, "where": where})
    assert mine.covers([reason("dep_delay")], values) is holds
    assert Scope.read(json.loads(json.dumps(mine.document))) == mine


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "at least one column"),
        ({"columns": {}}, "at least one column"),
        ({"columns": ["a"]}, "at least one column"),
        ({"columns": {"a": {}}, "when": {}}, "'when'; expected columns, where"),
        ({"columns": {"a": {"is": "high"}}}, "expected one of above, below"),
        ({"columns": {"a": {"is": "above", "most": 3}}}, "'most'"),
        ({"columns": {"a": "above"}}, "column a of a rule is 'above'"),
        ({"columns": {"a": {"at_most": "3"}}}, "expected a number"),
        ({"columns": {"a": {"at_most": float("nan")}}}, "expected a number"),
        ({"columns": {"a": {"at_least": 4, "at_most": 3}}}, "Swap them"),
        ({"columns": {"a": {"is": "missing", "at_most": 3}}}, "no bounds"),
        ({"columns": {"a": {}}, "where": {"b": []}}, "expected a list of values"),
        ({"columns": {"a": {}}, "where": {"b": {}}}, "says nothing"),
        ({"columns": {"a": {}}, "where": {"b": [[1]]}}, "expected a list of values"),
    ],
)
def test_what_is_no_scope_is_refused_in_words(document: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Scope.read(document)


def test_the_narrowest_scope_of_a_record_covers_it_and_nothing_that_is_wrong_otherwise() -> None:
    its = [reason("dep_delay", partner="arr_delay"), reason("arr_delay", rank=2), reason("x", rank=3, nats=0.1)]
    mine = Scope.of(its, {"carrier": ["HA"]})
    assert mine.document == {
        "columns": {"dep_delay": {"is": "above"}, "arr_delay": {"is": "above"}},
        "where": {"carrier": ["HA"]},
    }
    assert mine.covers(its, {"carrier": "HA"})
    assert not mine.covers([reason("dep_delay", 1.0)], {"carrier": "HA"})
    assert mine.words == "dep_delay too high, arr_delay too high, where carrier HA"


def test_the_first_active_rule_that_covers_is_named() -> None:
    def rule(id: int, days: int = 0, **columns: Any) -> Rule:
        start = NOW + timedelta(days=days)
        return Rule("flights", {"columns": columns}, "ordinary", "ada", start, start + LASTS, id=id)

    rules = [rule(3, dep_delay={}), rule(1, air_time={}), rule(2, days=1, dep_delay={}), rule(4, dep_delay={})]
    late = [reason("dep_delay")]
    assert first_covering(rules, late, {}, NOW) == 3
    assert first_covering(rules, late, {}, NOW + timedelta(days=1)) == 2
    assert first_covering(rules, late, {}, NOW - timedelta(seconds=1)) is None, "it counts from when it was made"
    assert first_covering(rules, [reason("distance")], {}, NOW) is None
    assert first_covering(rules, late, {}, NOW, most=1) is None
    gone = replace(rules[0], revoked_by="bob", revoked_at=NOW)
    assert first_covering([gone], late, {}, NOW) is None
