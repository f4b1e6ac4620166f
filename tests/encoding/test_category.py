from __future__ import annotations

import decimal

import numpy as np
import pyarrow as pa
import pytest

from flowguard.encoding.category import Category, CategoryFit
from flowguard.errors import SchemaError


def fitted(*arrays: pa.Array, max_levels: int = 1000) -> tuple[Category | None, list[str]]:
    fit = CategoryFit("c", "c", max_levels=max_levels)
    for array in arrays:
        fit.update(array)
    notices: list[str] = []
    return fit.category(notices), notices


def test_levels_go_by_frequency_and_ties_by_value() -> None:
    category, _ = fitted(pa.array(["b", "a", "c", "c"]), pa.array(["a", "b"]))
    assert category.levels == ("a", "b", "c")
    again, _ = fitted(pa.array(["c", "c", "c", "b", "b", "a"]))
    assert again.levels == ("c", "b", "a")


def test_unseen_is_zero_and_missing_is_one() -> None:
    category, _ = fitted(pa.array(["x", "x", "y"]))
    assert category.codes(pa.array(["y", "new", None, "x"])).tolist() == [3, 0, 1, 2]
    assert category.cardinality == 4


def test_beyond_max_levels_the_rest_is_unseen_with_notice() -> None:
    category, notices = fitted(pa.array([1, 1, 1, 2, 2, 3]), max_levels=2)
    assert category.codes(pa.array([1, 2, 3])).tolist() == [2, 3, 0]
    assert "3 levels" in notices[0]


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["ü", "東京", None, "ü"]),
        pa.array(["ü", "東京", None, "ü"], pa.large_string()),
        pa.array(["ü", "東京", None, "ü"], pa.string_view()),
        pa.array(["ü", "東京", None, "ü"]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 0]), pa.array(["ü", "東京", None])),
    ],
    ids=lambda array: str(array.type),
)
def test_every_kind_of_text_gives_the_same_codes(array: pa.Array) -> None:
    category, _ = fitted(pa.array(["ü", "ü", "東京"]))
    assert category.codes(array).tolist() == [2, 3, 1, 2]
    assert fitted(array)[0].levels == ("ü", "東京")


@pytest.mark.parametrize(
    "array",
    [
        pa.array([3, 4, None], pa.int8()),
        pa.array([3, 4, None], pa.uint64()),
        pa.array([3.0, 4.0, float("nan")]),
        pa.array([decimal.Decimal("3.00"), decimal.Decimal("4.00"), None]),
    ],
    ids=lambda array: str(array.type),
)
def test_a_number_is_known_by_its_value(array: pa.Array) -> None:
    category, _ = fitted(pa.array([3, 3, 4]))
    assert category.codes(array).tolist() == [2, 3, 1]


def test_text_numbers_and_booleans_are_not_mixed_up() -> None:
    category, _ = fitted(pa.array([1, 0]))
    for other in (pa.array(["1"]), pa.array([True])):
        with pytest.raises(SchemaError, match=r"'c'.*expected integers"):
            category.codes(other)
    with pytest.raises(SchemaError, match="date32"):
        fitted(pa.array([1], pa.date32()))
    with pytest.raises(SchemaError):
        fitted(pa.array(["a"]), pa.array([1]))


def test_booleans_are_categories_too() -> None:
    category, _ = fitted(pa.array([True, True, False]))
    assert category.codes(pa.array([False, True, None])).tolist() == [3, 2, 1]


def test_a_column_of_nulls_is_missing_everywhere() -> None:
    category, _ = fitted(pa.array(["a", "b"]), pa.nulls(3))
    assert category.codes(pa.nulls(2)).tolist() == [1, 1]


@pytest.mark.parametrize(("array", "words"), [(pa.array(["a", "a"]), "one value"), (pa.nulls(4), "no value")])
def test_a_column_that_tells_nothing_is_dropped_with_notice(array: pa.Array, words: str) -> None:
    category, notices = fitted(array)
    assert category is None
    assert words in notices[0]


def test_one_level_and_missing_is_kept() -> None:
    category, _ = fitted(pa.array(["a", None]))
    assert category.codes(pa.array(["a", None])).tolist() == [2, 1]


def test_infinite_levels_are_never_known() -> None:
    category, _ = fitted(pa.array([1.5, float("inf"), float("inf"), 2.0]))
    assert category.levels == (1.5, 2)
    assert category.codes(pa.array([float("inf"), -0.0])).tolist() == [0, 0]


def test_ten_thousand_levels_have_each_a_code() -> None:
    names = [f"level {i}" for i in range(10_000)]
    category, _ = fitted(pa.array(names), pa.array(names[:10]), max_levels=20_000)
    codes = category.codes(pa.array(names))
    assert sorted(codes.tolist()) == list(range(2, 10_002))
    assert set(codes[:10].tolist()) == set(range(2, 12))


def test_memory_stays_bounded_when_levels_never_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowguard.encoding.category.TRACKED", 1000)
    fit = CategoryFit("id", "id", max_levels=10)
    for start in range(0, 20_000, 500):
        fit.update(pa.array([f"u{i}" for i in range(start, start + 500)] + ["usual"] * 5))
        assert len(fit._counts) <= 1600
    notices: list[str] = []
    category = fit.category(notices)
    assert category.levels[0] == "usual"
    assert "more than" in notices[0]


def test_a_category_survives_json() -> None:
    import json

    category, _ = fitted(pa.array([1, 2, 2]))
    again = Category.from_dict(json.loads(json.dumps(category.to_dict())))
    assert again.levels == category.levels
    assert np.array_equal(again.codes(pa.array([2, 9])), category.codes(pa.array([2, 9])))
