from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.encoding.categorical import CategoryFeature, category_feature
from flowguard.encoding.category import CategoryFit
from flowguard.errors import SchemaError


def fitted(*arrays: pa.Array, max_levels: int = 1000) -> tuple[CategoryFeature | None, list[str]]:
    fit = CategoryFit("c", "c", max_levels=max_levels)
    for array in arrays:
        fit.update(array)
    notices: list[str] = []
    return category_feature(fit, notices), notices


@pytest.mark.parametrize(
    ("array", "levels", "unseen"),
    [
        (pa.array(["b", "a", "b", None]), ("b", "a"), pa.array(["new"])),
        (pa.array([True, False, True, None]), (True, False), None),
        (pa.array([7, 3, 7, None]), (7, 3), pa.array([7.5])),
    ],
    ids=["text", "boolean", "integer codes"],
)
def test_levels_have_codes_by_frequency_unseen_is_zero_missing_one(
    array: pa.Array, levels: tuple, unseen: pa.Array | None
) -> None:
    feature, _ = fitted(array)
    coded = feature.encode(array, None)
    assert coded.codes.tolist() == [2, 3, 2, 1]
    assert (coded.first, coded.second, coded.infinite) == (None, None, None)
    assert feature.counts == (0, 1, 2, 1)
    assert tuple(feature.level_of(code) for code in range(4)) == (None, None, *levels)
    if unseen is not None:
        assert feature.encode(unseen, None).codes.tolist() == [0]


def test_a_number_level_is_known_by_its_value() -> None:
    feature, _ = fitted(pa.array([3, 3, 4]), pa.array([3.0, 4.5]))
    assert feature.category.levels == (3, 4, 4.5)
    assert feature.encode(pa.array([3.0, 4.0, 4.5]), None).codes.tolist() == [2, 3, 4]


def test_good_turing_is_the_share_of_levels_that_occurred_once() -> None:
    feature, _ = fitted(pa.array(["a"] * 5 + ["b", "c", "d", None]))
    assert feature.novel == pytest.approx((3 + 1) / (9 + 2))
    assert feature.density_column() == {"kind": "category", "counts": [0, 1, 5, 1, 1, 1], "novel": 4 / 11}
    never_again, _ = fitted(pa.array([f"id {i}" for i in range(998)]))
    assert never_again.novel == pytest.approx(999 / 1000)
    always, _ = fitted(pa.array(["a", "b"] * 499))
    assert always.novel == pytest.approx(1 / 1000)


def test_ten_thousand_levels_have_each_a_code_and_a_count() -> None:
    names = [f"level {i}" for i in range(10_000)]
    feature, notices = fitted(pa.array(names), pa.array(names[:10]), max_levels=20_000)
    codes = feature.encode(pa.array(names), None).codes
    assert sorted(codes.tolist()) == list(range(2, 10_002))
    assert feature.counts == (0, 0, *[2] * 10, *[1] * 9990)
    assert feature.novel == pytest.approx(9991 / 10_012)
    assert not notices


def test_levels_beyond_the_commonest_count_as_unseen() -> None:
    feature, notices = fitted(pa.array([1, 1, 1, 2, 2, 3, 4, None]), max_levels=2)
    assert feature.counts == (2, 1, 3, 2)
    assert feature.encode(pa.array([3, 4, 2]), None).codes.tolist() == [0, 0, 3]
    assert feature.novel == pytest.approx(3 / 10)
    assert notices == ["feature c has 4 levels; the commonest 2 are told apart, the others count as unseen"]


def test_levels_forgotten_for_memory_count_as_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowguard.encoding.category.TRACKED", 1000)
    blocks = [pa.array([f"u{i}" for i in range(start, start + 500)] + ["usual"] * 5) for start in range(0, 20_000, 500)]
    feature, _ = fitted(*blocks, max_levels=10)
    assert sum(feature.counts) == 40 * 505
    assert feature.counts[2] == 200
    assert feature.novel == pytest.approx(20_001 / 20_202)


def test_one_level_is_kept_and_no_level_is_dropped_with_notice() -> None:
    feature, notices = fitted(pa.array(["a", "a"]))
    assert feature.counts == (0, 0, 2)
    assert feature.encode(pa.array(["a", "b"]), None).codes.tolist() == [2, 0]
    assert not notices
    feature, notices = fitted(pa.nulls(3))
    assert feature is None
    assert notices == ["feature c was dropped: it has no value in any record"]


def test_an_infinite_number_is_no_level() -> None:
    array = pa.array([1.5, float("inf"), 1.5, -float("inf"), 2.0])
    feature, _ = fitted(array)
    assert feature.counts == (0, 0, 2, 1)
    coded = feature.encode(array, None)
    assert coded.codes.tolist() == [2, 1, 2, 1, 3]
    assert coded.infinite.tolist() == [False, True, False, True, False]


def test_another_family_of_values_is_refused() -> None:
    feature, _ = fitted(pa.array([1, 2]))
    with pytest.raises(SchemaError, match="'c' holds string; expected integers"):
        feature.encode(pa.array(["1"]), None)
    with pytest.raises(KeyError, match="c is a category"):
        feature.decode(np.zeros(1))


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=60), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_every_text_comes_back_from_its_code_also_after_json(values: list[str | None], most: int) -> None:
    array = pa.array(values, pa.string())
    feature, _ = fitted(array, max_levels=most)
    if feature is None:
        assert set(values) == {None}
        return
    codes = feature.encode(array, None).codes.tolist()
    assert np.bincount(codes, minlength=len(feature.counts)).tolist() == list(feature.counts)
    for value, code in zip(values, codes, strict=True):
        assert (code == 1) == (value is None)
        assert code < 2 or feature.level_of(code) == value
    again = CategoryFeature.from_dict(json.loads(json.dumps(feature.to_dict())))
    assert again.to_dict() == feature.to_dict()
    assert again.encode(array, None).codes.tolist() == codes
