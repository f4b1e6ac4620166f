"""The rule by which small tables get less to overfit with and more steps to learn in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.density import Capacity, RecordDensity, capacity

sizes = st.integers(0, 10_000_000), st.integers(1, 3000)


@given(st.integers(20_000, 10_000_000), st.integers(1, 3000))
def test_large_tables_are_held_back_by_nothing(rows: int, columns: int) -> None:
    assert capacity(rows, columns) == Capacity((64, 64), 0.0, 0.0, 1e-4, 512, 40, 6)


@given(*sizes)
def test_every_table_gets_a_plan_that_can_be_followed(rows: int, columns: int) -> None:
    found = capacity(rows, columns)
    assert min(found.hidden) >= 1
    assert 0 <= found.dropout < 1
    assert 0 <= found.noise <= 1
    assert 16 <= found.batch_size <= 512
    assert 40 <= found.epochs <= 200
    assert 6 <= found.patience < found.epochs


@given(*sizes, st.integers(1, 1000))
def test_more_records_never_mean_more_noise_or_narrower_networks(rows: int, columns: int, more: int) -> None:
    small, large = capacity(rows, columns), capacity(rows + more, columns)
    assert small.noise >= large.noise
    assert sum(small.hidden) <= sum(large.hidden)
    assert small.epochs * small.patience > 0
    assert small.batch_size <= large.batch_size


@given(st.integers(130, 20_000), st.integers(1, 100))
def test_about_as_many_steps_are_taken_whatever_the_size(rows: int, columns: int) -> None:
    plan = capacity(rows, columns)
    assert 1500 <= plan.epochs * rows / plan.batch_size <= 1700


@pytest.mark.parametrize(("rows", "columns"), [(-1, 3), (10, 0)])
def test_no_table_at_all_is_refused(rows: int, columns: int) -> None:
    with pytest.raises(ValueError, match="at least one column"):
        capacity(rows, columns)


def built(rows: int, **config: Any) -> dict[str, Any]:
    columns = [{"kind": "number", "counts": [rows - 1, 1]}] * 2
    return RecordDensity.build({"columns": columns, "numeric": 0, "cardinalities": []} | config).config


def test_none_asks_for_the_rule_and_what_is_given_stays() -> None:
    asked = {"hidden": None, "dropout": None, "noise": None}
    rule = capacity(80, 2)
    assert built(80, **asked)["hidden"] == list(rule.hidden)
    assert built(80, **asked)["noise"] == rule.noise > 0
    assert built(80, **asked | {"hidden": [5], "noise": 0.0})["hidden"] == [5]
    assert built(80, **asked | {"noise": 0.0})["noise"] == 0.0
    assert built(30_000, **asked) == built(30_000)


def test_a_config_that_says_nothing_keeps_the_defaults_so_that_a_sealed_one_stays_what_it_was() -> None:
    config = built(80)
    assert (config["hidden"], config["dropout"], config["noise"]) == ([64, 64], 0.0, 0.0)
