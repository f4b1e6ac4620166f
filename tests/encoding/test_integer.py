from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from flowguard.encoding.integer import WIDEST, IntegerFeature, integer_feature
from flowguard.encoding.number import NumberFit
from flowguard.encoding.settings import FeatureSettings

FRONTS = ["quantile", "standard", "robust"]


def fitted(values: np.ndarray, front: str = "quantile") -> tuple[IntegerFeature | None, list[str]]:
    fit = NumberFit("x", seed=0)
    fit.update(np.asarray(values, dtype=float))
    fit.finish()
    notices: list[str] = []
    return integer_feature(fit, "x", FeatureSettings("integer", front=front), notices), notices


def samples() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    return {
        "counts": random.poisson(9, 3000),
        "fives": 5 * random.poisson(9, 3000),
        "halves": random.poisson(9, 3000) + 0.5,
        "tenths": np.rint(random.normal(0, 30, 3000)) / 10,
        "thirds": np.rint(random.normal(0, 300, 3000)) / 3,
        "wide": np.rint(random.normal(0, 1e5, 20_000)),
        "skewed": np.rint(np.minimum(random.lognormal(3, 3, 20_000), 900_000)),
        "mostly zero": np.append(np.zeros(40_000), [1.0, 2.0, 3.0]),
        "far from zero": 1e12 + np.rint(random.normal(0, 300, 3000)),
        "two values": np.repeat([0.0, 1.0], [5, 7]),
    }


SAMPLES = samples()
every_sample = pytest.mark.parametrize("name", list(SAMPLES))


def points(feature: IntegerFeature, around: float, each_side: int) -> np.ndarray:
    """Neighbouring points of the lattice."""
    middle = feature.lattice.places(np.array([around]))[0]
    return feature.lattice.offset + feature.lattice.step * (middle + np.arange(-each_side, each_side + 1.0))


@every_sample
@pytest.mark.parametrize("front", FRONTS)
def test_the_probabilities_of_all_points_sum_to_one(name: str, front: str) -> None:
    feature, _ = fitted(SAMPLES[name], front)
    assert feature is not None
    values = points(feature, float(np.median(SAMPLES[name])), 300_000)
    coded = feature.encode(pa.array(values), None)
    assert (coded.codes == 0).all()
    upper = coded.first + np.exp(coded.second)
    for mean, scale in ((0.0, 1.0), (0.7, 0.05), (-2.0, 0.4)):
        low, high = (coded.first - mean) / scale, (upper - mean) / scale
        # F(high) - F(low) from the side where the two are small, so that nothing cancels.
        above = low > 0
        mass = np.where(above, expit(-low) - expit(-high), expit(high) - expit(low))
        assert (mass >= 0).all()
        beyond = expit(low[0]) + expit(-high[-1])
        assert abs(mass.sum() + beyond - 1) < 1e-9
    # The next lower edge is this upper one.
    assert np.abs(upper[:-1] - coded.first[1:]).max() < 1e-12


@pytest.mark.parametrize("name", ["counts", "fives", "halves"])
def test_lower_and_width_are_the_front_at_half_a_step_from_the_value(name: str) -> None:
    feature, _ = fitted(SAMPLES[name])
    values = np.unique(SAMPLES[name]).astype(float)
    coded = feature.encode(pa.array(values), None)
    h = {"counts": 1.0, "fives": 5.0, "halves": 1.0}[name]
    assert feature.step == h
    below, above = feature.front.forward(values - h / 2)[0], feature.front.forward(values + h / 2)[0]
    assert np.allclose(coded.first, below, rtol=0, atol=1e-12)
    assert np.allclose(coded.second, np.log(above - below), rtol=0, atol=1e-9)


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("value", [1e6, -1e6, 1e12, 1e15, 2.0**60, 1e100, 1e300, -1e300, 1.7e308, -1.7e308])
def test_far_out_integers_stay_finite_and_their_width_is_the_slope(front: str, value: float) -> None:
    feature, _ = fitted(SAMPLES["counts"], front)
    coded = feature.encode(pa.array([value]), None)
    assert coded.codes.tolist() == [0]
    assert np.isfinite(coded.first).all()
    _, slope = feature.front.forward(np.array([value]))
    assert coded.second[0] == pytest.approx(slope[0], abs=1e-5)


def test_the_width_changes_smoothly_where_the_slope_takes_over() -> None:
    feature, _ = fitted(SAMPLES["counts"], "standard")
    values = np.rint(np.geomspace(1e3, 1e14, 400))
    coded = feature.encode(pa.array(values), None)
    # In the log tails the slope is 30 / distance from the mean.
    mean = float(SAMPLES["counts"].mean())
    assert np.allclose(coded.second, np.log(30 / (values - mean)), rtol=0, atol=2e-6)


@every_sample
@pytest.mark.parametrize("front", FRONTS)
def test_decoding_rounds_to_the_lattice(name: str, front: str) -> None:
    feature, _ = fitted(SAMPLES[name], front)
    values = points(feature, float(np.median(SAMPLES[name])), 200)
    coded = feature.encode(pa.array(values), None)
    width = np.exp(coded.second)
    for share in (0.01, 0.5, 0.99):
        assert np.array_equal(feature.decode(coded.first + share * width), values)
    assert feature.decode(np.zeros((2, 3))).shape == (2, 3)
    assert np.isfinite(feature.decode(np.array([-1e9, 1e9]))).all()


def test_a_value_off_the_lattice_has_code_two_and_no_cell() -> None:
    feature, _ = fitted(SAMPLES["fives"])
    coded = feature.encode(pa.array([10.0, 12.0, 10.000001, None, -35.0, 10.5]), None)
    assert coded.codes.tolist() == [0, 2, 2, 1, 0, 2]
    assert (coded.first[[1, 2, 3, 5]] == 0).all()
    assert (coded.second[[1, 2, 3, 5]] == 0).all()
    assert [feature.level_of(code) for code in range(3)] == [None, None, None]


def test_rounding_of_the_values_is_not_off_the_lattice() -> None:
    feature, _ = fitted(SAMPLES["tenths"])
    assert feature.step == 0.1
    sums = np.array([0.1 + 0.2, 1 - 0.9, 0.1 * 3, 1.1 * 3, 12.34, 100.05])
    assert feature.encode(pa.array(sums), None).codes.tolist() == [0, 0, 0, 0, 2, 2]
    single = np.float32(SAMPLES["tenths"]).astype(float)
    feature, _ = fitted(single)
    assert (feature.encode(pa.array(single), None).codes == 0).all()
    assert feature.encode(pa.array([0.05]), None).codes.tolist() == [2]


def test_values_off_the_lattice_at_the_fit_are_counted_and_leave_the_front_alone() -> None:
    clean = SAMPLES["counts"]
    dirty = np.append(clean, [0.25, 17.123])
    (ours, _), (theirs, _) = fitted(dirty), fitted(clean)
    assert ours.counts == (len(clean), 0, 2)
    assert ours.front.to_dict() == theirs.front.to_dict()
    odd = np.random.default_rng(4).random(300_000)
    long = np.where(np.arange(300_000) % 100 == 0, odd, np.resize(clean, 300_000))
    feature, _ = fitted(long)
    assert sum(feature.counts) == 300_000
    assert abs(feature.counts[2] - 3000) < 5 * np.sqrt(3000 * 6)


def test_a_span_of_too_many_steps_is_no_integer_and_a_notice_says_so() -> None:
    random = np.random.default_rng(1)
    core = random.poisson(9, 1000)
    feature, notices = fitted(np.append(core, [0, WIDEST]))
    assert feature is not None
    assert not notices
    feature, notices = fitted(np.append(core, [0, WIDEST + 1]))
    assert feature is None
    assert "x: it is not modelled as an integer" in notices[0]
    assert "1,048,576" in notices[0]


def test_the_span_is_that_of_the_whole_stream_not_of_the_sample() -> None:
    values = np.random.default_rng(2).poisson(9, 300_000).astype(float)
    values[200_000] = 1e9
    fit = NumberFit("x", seed=0)
    fit.update(values)
    fit.finish()
    assert fit.sample()[-1] < 100
    notices: list[str] = []
    assert integer_feature(fit, "x", FeatureSettings("integer"), notices) is None
    assert "1e+09 steps" in notices[0]


def test_the_standard_front_has_the_deviation_of_the_values_spread_over_their_step() -> None:
    feature, _ = fitted(np.repeat([0.0, 10.0], [1, 9]), "standard")
    assert feature.front.shape.center == 9.0
    assert feature.front.shape.scale == pytest.approx(np.sqrt(9 + 100 / 12))


def test_a_continuum_is_no_integer_and_a_notice_says_so() -> None:
    feature, notices = fitted(np.random.default_rng(3).normal(size=500))
    assert feature is None
    assert "on no lattice" in notices[0]


def test_an_integer_is_not_dithered() -> None:
    feature, _ = fitted(SAMPLES["counts"])
    array = pa.array(SAMPLES["counts"])
    plain, moved = feature.encode(array, None), feature.encode(array, np.random.default_rng(0))
    assert plain.first.tobytes() == moved.first.tobytes()


@given(
    st.lists(st.integers(-3000, 3000), min_size=3, max_size=80, unique=True),
    st.sampled_from([(1.0, 0.0), (5.0, 0.0), (1.0, 0.5), (0.1, 0.0), (0.25, 7.125), (60.0, 1e6)]),
    st.sampled_from(FRONTS),
)
@settings(max_examples=80, deadline=None)
def test_encode_and_decode_are_inverse_and_json_keeps_the_bits(
    places: list[int], lattice: tuple[float, float], front: str
) -> None:
    step, offset = lattice
    values = offset + step * np.array(places)
    feature, _ = fitted(values, front)
    assert feature is not None
    coded = feature.encode(pa.array(values), None)
    assert (coded.codes == 0).all()
    assert feature.counts == (len(values), 0, 0)
    back = feature.decode(coded.first + np.exp(coded.second) / 2)
    assert np.allclose(back, values, rtol=1e-12, atol=1e-9 * step)
    again = IntegerFeature.from_dict(json.loads(json.dumps(feature.to_dict())))
    same = again.encode(pa.array(values), None)
    assert again.to_dict() == feature.to_dict()
    assert (coded.first.tobytes(), coded.second.tobytes()) == (same.first.tobytes(), same.second.tobytes())
