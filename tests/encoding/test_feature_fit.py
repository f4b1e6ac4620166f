from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.encoding.feature import Feature
from flowguard.encoding.feature_fit import FeatureFit, feature_from_dict
from flowguard.encoding.settings import FeatureSettings
from flowguard.errors import SchemaError


def fitted(kind: str, *arrays: pa.Array, **options: object) -> tuple[Feature | None, list[str]]:
    fit = FeatureFit("x", FeatureSettings(kind, **options), seed=0)
    for array in arrays:
        fit.update(array)
    notices: list[str] = []
    return fit.feature(notices), notices


def test_the_column_may_have_another_name() -> None:
    assert FeatureFit("x", FeatureSettings(column="raw"), seed=0).column == "raw"
    assert FeatureFit("x", FeatureSettings(), seed=0).column == "x"


@pytest.mark.parametrize("kind", ["number", "integer"])
def test_a_constant_is_a_category_of_one_level(kind: str) -> None:
    feature, notices = fitted(kind, pa.array([3.0, None]), pa.array([3, 3]))
    assert feature.kind == "category"
    assert feature.counts == (0, 1, 3)
    assert feature.encode(pa.array([3, 4, None]), None).codes.tolist() == [2, 0, 1]
    assert feature.encode(pa.array([3.0, 3.0000001]), None).codes.tolist() == [2, 0]
    assert feature.level_of(2) == 3
    assert feature.density_column()["novel"] == pytest.approx(1 / 6)
    assert len(notices) == 1
    assert "x: it has the one value 3" in notices[0]


def test_a_number_of_two_values_is_a_category_and_of_three_is_not() -> None:
    feature, notices = fitted("number", pa.array([0.0, 2.5, -0.0, None, 2.5, 2.5]))
    assert feature.kind == "category"
    assert feature.category.levels == (2.5, 0)
    assert feature.counts == (0, 1, 3, 2)
    assert feature.encode(pa.array([-0.0, 2.5, 1.0]), None).codes.tolist() == [3, 2, 0]
    assert "two values 2.5 and 0" in notices[0]
    assert fitted("number", pa.array([0.0, 2.5, 3.0]))[0].kind == "number"
    assert fitted("number", pa.array([0, 2]), atoms=False)[0].kind == "category"


def test_an_integer_of_two_values_keeps_its_lattice() -> None:
    feature, notices = fitted("integer", pa.array([0, 1, 1]))
    assert (feature.kind, feature.step) == ("integer", 1.0)
    assert feature.encode(pa.array([2]), None).codes.tolist() == [0]
    assert notices == ["x: the quantile front was replaced by the standard one (too few distinct values)"]


def test_a_rare_third_value_that_the_sample_missed_is_counted() -> None:
    values = np.zeros(1_000_000)
    values[[400_000, 700_000]] = 1.0
    two, _ = fitted("number", pa.array(values))
    assert two.kind == "category"
    assert two.counts == (0, 0, 999_998, 2)
    values[900_000] = 5.0
    three, _ = fitted("number", pa.array(values))
    assert three.kind == "number"
    assert three.atoms == (0.0,)
    rare, _ = fitted("integer", pa.array(values))
    assert rare.kind == "number"


def test_large_integers_compare_as_numbers_do() -> None:
    large = 2**60
    feature, _ = fitted("number", pa.array([large, large, large + 1]))
    assert feature.kind == "category"
    assert feature.counts == (0, 0, 3)
    assert feature.encode(pa.array([large, large + 1, large + 1000]), None).codes.tolist() == [2, 2, 0]


def test_an_integer_that_cannot_be_one_is_a_number_with_notice() -> None:
    smooth = np.random.default_rng(0).normal(size=500)
    feature, notices = fitted("integer", pa.array(smooth))
    assert feature.kind == "number"
    assert "not modelled as an integer" in notices[0]
    wide = np.append(np.arange(500), 2**21)
    assert fitted("integer", pa.array(wide))[0].kind == "number"


@pytest.mark.parametrize("kind", ["number", "integer", "category"])
def test_a_column_never_observed_is_dropped_with_notice(kind: str) -> None:
    feature, notices = fitted(kind, pa.nulls(3), pa.array([None, float("nan")], pa.float64()))
    assert feature is None
    assert notices == ["feature x was dropped: it has no value in any record"]


@pytest.mark.parametrize("kind", ["number", "integer"])
def test_text_and_booleans_are_no_numbers(kind: str) -> None:
    for array in (pa.array(["1"]), pa.array([True])):
        with pytest.raises(SchemaError, match=r"'x' holds .*expected numbers"):
            fitted(kind, array)
    constant, _ = fitted(kind, pa.array([1, 1]))
    with pytest.raises(SchemaError, match="'x' holds bool; expected numbers"):
        constant.encode(pa.array([True]), None)


@given(
    st.sampled_from(["number", "integer", "category"]),
    st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.0, 7.5, 1e12, None, float("nan")]), min_size=1, max_size=80),
    st.lists(st.integers(0, 80), max_size=5),
)
@settings(max_examples=120, deadline=None)
def test_the_fit_does_not_depend_on_how_the_stream_is_cut(
    kind: str, values: list[float | None], cuts: list[int]
) -> None:
    array = pa.array(values, pa.float64())
    edges = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    whole, notices = fitted(kind, array)
    parts, told = fitted(kind, *(array.slice(a, b - a) for a, b in pairwise(edges)))
    assert notices == told
    if whole is None:
        assert parts is None
        return
    assert sum(whole.counts) == len(values)
    # repr tells 0 from 0.0 and 0.0 from -0.0.
    assert repr(whole.to_dict()) == repr(parts.to_dict())
    again = feature_from_dict(json.loads(json.dumps(whole.to_dict())))
    assert type(again) is type(whole)
    assert repr(again.to_dict()) == repr(whole.to_dict())
    one_by_one = [whole.encode(array.slice(i, 1), None).codes[0] for i in range(len(values))]
    assert whole.encode(array, None).codes.tolist() == one_by_one
