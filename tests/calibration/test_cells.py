"""Cells: a partition fixed on training counts, in which every value has exactly one place and none is too small."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration import Cells
from flowguard.calibration.cells import as_text, counted
from flowguard.errors import CalibrationError


def columns(*values: list[str]) -> list[np.ndarray]:
    return [np.array(one) for one in values]


def test_without_columns_there_is_one_cell() -> None:
    assert Cells().names == ("all",)
    assert Cells.fit([], {}, least=10).of([], 3).tolist() == ["all"] * 3


def test_large_values_stand_alone_and_small_siblings_share_a_cell() -> None:
    cells = Cells.fit(["c"], {("a",): 900, ("b",): 500, ("x",): 300, ("y",): 300}, least=500)
    assert cells.names == ("c=(other)", "c=a", "c=b")
    assert cells.of(columns(["a", "b", "x", "y", "new"])).tolist() == ["c=a", "c=b", *["c=(other)"] * 3]


def test_what_is_too_small_together_takes_the_smallest_large_sibling_in() -> None:
    cells = Cells.fit(["c"], {("a",): 900, ("b",): 500, ("x",): 3}, least=500)
    assert cells.names == ("c=a", "c=b, (other)")
    assert cells.of(columns(["x", "new", "b"])).tolist() == ["c=b, (other)"] * 3


def test_where_no_value_is_large_enough_all_are_one_cell() -> None:
    cells = Cells.fit(["c"], {("a",): 9, ("b",): 5}, least=500)
    assert cells.names == ("all",)
    assert cells.of(columns(["a", "new"])).tolist() == ["all", "all"]


def test_where_every_value_stands_alone_a_new_one_goes_with_the_smallest() -> None:
    cells = Cells.fit(["c"], {("a",): 900, ("b",): 800}, least=500)
    assert cells.of(columns(["a", "b", "new"])).tolist() == ["c=a", "c=b", "c=b"]


def test_a_second_column_splits_only_what_is_large_enough_and_merges_within_its_parent() -> None:
    counts = {("a", "1"): 900, ("a", "2"): 600, ("a", "3"): 510, ("b", "1"): 400, ("b", "2"): 300, ("c", "1"): 10}
    cells = Cells.fit(["x", "y"], counts, least=500)
    found = cells.of(columns(["a", "a", "a", "a", "b", "b", "c", "new"], ["1", "2", "3", "new", "1", "new", "1", "1"]))
    alone = ["x=a; y=1", "x=a; y=2", "x=a; y=3", "x=a; y=3"]
    # `b` is large enough for itself, but not for `c` to be left alone.
    assert found.tolist() == [*alone, *["x=b, (other)"] * 4]


def test_it_does_not_depend_on_the_order_of_the_records() -> None:
    counts = {(name,): 500 for name in "abcdef"}
    backwards = dict(reversed(counts.items()))
    assert Cells.fit(["c"], counts, least=600) == Cells.fit(["c"], backwards, least=600)


def test_the_state_gives_back_the_same_cells() -> None:
    counts = {("a", "1"): 900, ("a", "2"): 600, ("b", "1"): 400, ("c", "1"): 200}
    cells = Cells.fit(["x", "y"], counts, least=500)
    again = Cells.from_state(json.loads(json.dumps(cells.to_state())))
    assert again == cells
    assert again.names == cells.names


def test_no_training_record_is_refused() -> None:
    with pytest.raises(CalibrationError, match="no training record to form cells of c"):
        Cells.fit(["c"], {}, least=5)


def test_values_are_known_as_text_and_missing_ones_are_a_value() -> None:
    assert as_text([None, float("nan"), 3, "UA", True]).tolist() == ["(missing)", "(missing)", "3", "UA", "True"]
    found = counted([columns(["a", "a"], ["1", "2"]), columns(["a"], ["1"])])
    assert found == Counter({("a", "1"): 2, ("a", "2"): 1})


values = st.sampled_from(["a", "b", "c", "d", ""])


@given(
    st.dictionaries(st.tuples(values, values), st.integers(1, 400), min_size=1, max_size=20),
    st.floats(1, 500),
    st.lists(st.tuples(values | st.just("new"), values | st.just("new")), min_size=1, max_size=10),
)
def test_every_record_has_one_cell_and_no_cell_has_fewer_training_records_than_asked(
    counts: dict[tuple[str, str], int], least: float, asked: list[tuple[str, str]]
) -> None:
    cells = Cells.fit(["x", "y"], counts, least=least)
    trained = list(counts)
    cell = cells.of(columns([x for x, _ in trained], [y for _, y in trained]))
    sizes = Counter()
    for name, count in zip(cell.tolist(), counts.values(), strict=True):
        sizes[name] += count
    assert set(sizes) == set(cells.names)
    if len(sizes) > 1:
        assert min(sizes.values()) >= least
    found = cells.of(columns([x for x, _ in asked], [y for _, y in asked]))
    assert set(found.tolist()) <= set(cells.names)
    one_by_one = [cells.of(columns([x], [y]))[0] for x, y in asked]
    assert found.tolist() == one_by_one
