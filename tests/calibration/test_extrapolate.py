from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flowguard.calibration import Tail, p_value
from flowguard.calibration.extrapolate import FEWEST, REACH
from flowguard.errors import CalibrationError

Array = np.ndarray

KNOWN = {
    "exponential": stats.expon(),
    "uniform": stats.uniform(),
    "heavy": stats.genpareto(0.3),
    "bounded": stats.genpareto(-0.3),
    "normal": stats.norm(),
}


def drawn(name: str, n: int, seed: int) -> Array:
    return np.asarray(KNOWN[name].rvs(n, random_state=seed))


@pytest.mark.parametrize("name", KNOWN)
def test_the_quantile_beyond_the_reference_is_found(name: str) -> None:
    # 1e-4 from 5,000 records: off by how much in the middle of samples, and in a typical one. Errors are skewed.
    true = KNOWN[name].isf(1e-4)
    errors = np.array([Tail.fit(drawn(name, 5000, seed)).score_at(1e-4) / true - 1 for seed in range(20)])
    assert abs(np.median(errors)) < 0.1
    # A heavy tail's next decade is uncertain whoever estimates it: the spread of the best estimate is 0.3 here.
    assert np.median(np.abs(errors)) < (0.3 if name == "heavy" else 0.1)


@pytest.mark.parametrize("name", KNOWN)
def test_alarms_below_the_smallest_rank_come_about_as_often_as_asked(name: str) -> None:
    n, asked = 1000, 1e-4
    rates = [KNOWN[name].sf(Tail.fit(drawn(name, n, seed)).score_at(asked)) for seed in range(60)]
    assert np.mean(rates) < 2.5 * asked


@pytest.mark.parametrize(
    ("name", "shape"), [("exponential", 0.0), ("heavy", 0.3), ("bounded", -0.3), ("uniform", -1.0)]
)
def test_shape_and_scale_are_found(name: str, shape: float) -> None:
    tails = [Tail.fit(drawn(name, 4000, seed)) for seed in range(10)]
    assert np.mean([tail.shape for tail in tails]) == pytest.approx(shape, abs=0.1)
    # An excess over a threshold u has the scale 1 + shape u.
    off = [tail.scale / (KNOWN[name].kwds.get("scale", 1.0) * (1 + shape * tail.threshold)) for tail in tails]
    assert np.mean(off) == pytest.approx(1, abs=0.15)
    assert np.median([tail.goodness_of_fit for tail in tails]) > 0.1


def test_a_threshold_too_low_is_left_behind() -> None:
    # A body of a thousand, and a tail of a kind of its own in the last 6 %.
    rng = np.random.default_rng(0)
    body, end = rng.uniform(0, 1, 9400), 1 + rng.exponential(5.0, 600)
    tail = Tail.fit(np.r_[body, end])
    assert tail.threshold >= 0.99
    assert tail.goodness_of_fit > 0.01
    assert tail.scale == pytest.approx(5, rel=0.2)


@given(st.integers(0, 10_000), st.sampled_from(list(KNOWN)), st.sampled_from([1e-300, 1e-6, 1.0, 1e6, 1e299]))
@settings(max_examples=25, deadline=None)
def test_laws_of_the_p_values(seed: int, name: str, unit: float) -> None:
    reference = np.sort(drawn(name, 300, seed)) * unit
    tail, n, most = Tail.fit(reference), len(reference), reference[-1]
    spread = most - np.median(reference)
    inside = np.linspace(reference[0], most, 101)
    beyond = most + spread * np.geomspace(1e-6, 1e8 if unit < 1e200 else 1e1, 60)
    within, farther = tail.p_value(inside), tail.p_value(beyond)
    # Up to the strangest they are the ranks, and no others are marked.
    assert np.array_equal(within.values, p_value(reference, inside))
    assert not within.extrapolated.any()
    assert farther.extrapolated.all()
    assert farther.kind == within.kind == "extrapolated"
    # Beyond: never above, without a jump, strictly falling, never 0.
    assert (farther.values < 1 / (n + 1)).all()
    assert farther.values[0] == pytest.approx(1 / (n + 1), rel=0.01)
    assert (np.diff(farther.values) < 0).all()
    assert farther.values[-1] > 0
    # No unit.
    plain = Tail.fit(reference / unit)
    assert plain.shape == pytest.approx(tail.shape, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", KNOWN)
def test_the_score_at_a_level_has_that_level(name: str) -> None:
    tail = Tail.fit(drawn(name, 1000, 3))
    for level in (0.5, 0.01, 0.001, 5e-4, 1e-4, 1e-6, 1e-9):
        score = tail.score_at(level)
        value = tail.p_value([score]).values[0]
        if level >= 1 / 1001:
            assert value <= level
            assert tail.p_value([np.nextafter(score, -np.inf)]).values[0] > level
        else:
            assert value == pytest.approx(level, rel=1e-6)
    for level in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError):
            tail.score_at(level)


def test_p_values_come_to_the_tail_s_own() -> None:
    tail = Tail.fit(drawn("exponential", 2000, 1))
    far = tail.score_at(1 / (REACH * 2001) * 2)
    excess = np.array([far - tail.threshold])
    own = math.exp(np.logaddexp.reduce(tail._log_survivals(excess)[0])) * (1 + tail.exceedances) / 2001
    assert tail.p_value([far]).values[0] == pytest.approx(own, rel=0.05)


def test_a_record_worse_than_every_number_still_has_a_p_value() -> None:
    tail = Tail.fit(drawn("bounded", 500, 0))
    p = tail.p_value([1e3, 1e100, 1e300, np.inf, -np.inf]).values
    assert (p[:4] > 0).all()
    assert p[0] > p[1] > p[2] >= p[3]
    assert p[4] == 1.0
    with pytest.raises(ValueError, match="NaN"):
        tail.p_value([np.nan])


def test_one_absurd_reference_score_leaves_the_others_in_order() -> None:
    tail = Tail.fit(np.r_[drawn("exponential", 999, 0), 1e300])
    assert np.isfinite([tail.shape, tail.scale, tail.threshold]).all()
    p = tail.p_value([5.0, 1e299, 2e300, 1e305])
    assert p.extrapolated.tolist() == [False, False, True, True]
    assert p.values[1] == pytest.approx(2 / 1001)
    assert 1 / 1001 > p.values[2] > p.values[3] > 0


def test_heavy_ties_are_refused_and_light_ones_show_in_the_fit() -> None:
    rng = np.random.default_rng(0)
    for tied in (np.zeros(500), rng.integers(0, 5, 500).astype(float), np.r_[rng.normal(size=470), np.full(60, 9.0)]):
        with pytest.raises(CalibrationError, match="different"):
            Tail.fit(tied)
    whole = np.floor(rng.exponential(10.0, 3000))
    tail = Tail.fit(whole)
    values = tail.p_value(np.arange(0.0, 400.0)).values
    assert (np.diff(values) <= 0).all()
    assert values[-1] > 0


def test_references_without_a_tail_are_refused() -> None:
    with pytest.raises(CalibrationError, match=r"200 .* there are 199"):
        Tail.fit(np.arange(FEWEST - 1.0))
    for bad in (np.inf, -np.inf, np.nan):
        with pytest.raises(CalibrationError, match="infinite or NaN"):
            Tail.fit(np.r_[np.arange(500.0), bad])
    with pytest.raises(CalibrationError, match="far apart"):
        Tail.fit(np.r_[np.full(500, -1.5e308), np.linspace(1.0e308, 1.7e308, 45)])


def test_a_tail_survives_json_to_the_bit() -> None:
    reference = drawn("heavy", 800, 5)
    tail = Tail.fit(reference)
    again = Tail.from_dict(json.loads(json.dumps(tail.to_dict())), np.sort(reference))
    score = np.geomspace(0.1, 1e6, 50)
    assert np.array_equal(tail.p_value(score).values, again.p_value(score).values)
    assert np.array_equal(Tail.fit(reference[::-1]).p_value(score).values, again.p_value(score).values)
