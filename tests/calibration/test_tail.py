from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.calibration import TailRank
from flowguard.calibration.tail import FEWEST, Reference


def test_ranks_by_hand() -> None:
    reference = Reference.fit(np.array([0.0, 1.0, 3.0]))
    ranks = np.exp(reference.log_rank(np.array([0.0, 1.0, 3.0])))
    assert ranks == pytest.approx([1 / 4, 2 / 4, 3 / 4])
    middle = reference.log_rank(np.array([2.0]))[0]
    assert middle == pytest.approx((math.log(2 / 4) + math.log(3 / 4)) / 2)
    # The lowest two of three exceed downwards by 3 and 2 from the third.
    assert reference.scale == pytest.approx(2.5)
    assert reference.log_rank(np.array([-5.0]))[0] == pytest.approx(math.log(1 / 4) - 5.0 / 2.5)


def test_tied_reference_points_count_together() -> None:
    reference = Reference.fit(np.array([0.0, 0.0, 0.0, 1.0]))
    assert np.exp(reference.log_rank(np.array([0.0, 1.0]))) == pytest.approx([3 / 5, 4 / 5])


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80),
    st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=30),
)
@settings(max_examples=150)
def test_ranks_rise_with_density_and_stay_in_range(points: list[float], values: list[float]) -> None:
    reference = Reference.fit(np.array(points))
    value = np.sort(values)
    ranks = reference.log_rank(value)
    assert np.isfinite(ranks).all()
    assert (ranks <= 0).all()
    assert (np.diff(ranks) >= 0).all()
    low = value < min(points)
    assert (np.diff(ranks[low])[np.diff(value[low]) > 1e-6 * (1 + np.abs(value[low][:-1]))] > 0).all()


@pytest.mark.parametrize("points", [np.zeros(200), np.array([5.0]), np.full(100, -3.0) + 1e-14 * np.arange(100)])
def test_extremes_never_tie_whatever_the_reference(points: np.ndarray) -> None:
    ranks = Reference.fit(points).log_rank(np.array([-1e12, -1e6, -1e3, -100.0]))
    assert (np.diff(ranks) > 0).all()


def test_ranks_are_uniform_on_fresh_records() -> None:
    random = np.random.default_rng(0)
    reference = Reference.fit(random.normal(size=5000))
    ranks = np.exp(reference.log_rank(random.normal(size=5000)))
    for level in (0.01, 0.1, 0.5, 0.9):
        error = math.sqrt(2 * level * (1 - level) / 5000)
        assert abs((ranks <= level).mean() - level) < 4 * error


def mixed(n: int = 4000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    pattern = random.choice(["111", "110", "001", "000"], n, p=[0.8, 0.17, 0.01, 0.02])
    level = {"111": -9.0, "110": -5.0, "001": 3.0, "000": 0.0}
    spread = np.where(pattern == "000", 0.0, 1.0)
    return np.array([level[name] for name in pattern]) + spread * random.normal(size=n), pattern


def test_each_pattern_has_its_own_ranks() -> None:
    density, pattern = mixed()
    tail = TailRank.fit(density, pattern)
    assert set(tail.references) == {"111", "110"}
    ranks = tail.log_rank(np.array([-9.0, -5.0]), np.array(["111", "110"]))
    assert np.exp(ranks) == pytest.approx([0.5, 0.5], abs=0.05)
    assert tail.log_rank(np.array([-5.0]), np.array(["111"]))[0] > math.log(0.99)


def test_nothing_continuous_has_rank_one_exactly() -> None:
    density, pattern = mixed()
    tail = TailRank.fit(density, pattern)
    assert tail.log_rank(np.zeros(3), np.array(["000"] * 3)).tolist() == [0.0, 0.0, 0.0]
    # Digits other than 1 are values with a probability, not a density.
    assert tail.log_rank(np.zeros(1), np.array(["022"])).tolist() == [0.0]


def test_rare_and_unseen_patterns_share_a_reference_and_never_tie() -> None:
    density, pattern = mixed()
    assert (pattern == "001").sum() < FEWEST
    tail = TailRank.fit(density, pattern)
    for name in ("001", "010", "101"):
        ranks = tail.log_rank(np.array([-1e6, -1e3, -50.0, 0.0, 3.0]), np.array([name] * 5))
        assert (np.diff(ranks) > 0).all()
        assert ranks[0] < -1e4
    # A record that is ordinary for its rare pattern ranks as ordinary.
    assert tail.log_rank(np.array([3.0]), np.array(["001"]))[0] > math.log(0.2)


def test_ranks_do_not_depend_on_units_even_where_a_reference_is_shared() -> None:
    density, pattern = mixed()
    columns = np.array([[digit == "1" for digit in name] for name in pattern])
    shift = columns @ np.log([1000.0, 60.0, 0.01])
    before, after = TailRank.fit(density, pattern), TailRank.fit(density + shift, pattern)
    assert np.allclose(before.log_rank(density, pattern), after.log_rank(density + shift, pattern), atol=1e-9)


def test_without_any_continuous_record_ranks_still_rise_with_density() -> None:
    tail = TailRank.fit(np.zeros(9), np.array(["00"] * 9))
    ranks = tail.log_rank(np.array([-1e6, -5.0, 0.0, 5.0]), np.array(["10"] * 4))
    assert (np.diff(ranks) > 0).all()
    assert (ranks <= 0).all()


def test_a_record_does_not_depend_on_its_batch() -> None:
    density, pattern = mixed()
    tail = TailRank.fit(density, pattern)
    whole = tail.log_rank(density, pattern)
    alone = [tail.log_rank(density[i : i + 1], pattern[i : i + 1])[0] for i in range(200)]
    assert whole[:200].tolist() == alone


@pytest.mark.parametrize("pattern", [None, ["00"] * 9, ["10"] * 9])
def test_the_state_gives_back_the_same_bits(pattern: list[str] | None) -> None:
    import json

    if pattern is None:
        density, names = mixed()
    else:
        density, names = np.arange(9.0), np.array(pattern)
    tail = TailRank.fit(density, names)
    state, arrays = tail.to_state()
    again = TailRank.from_state(json.loads(json.dumps(state)), arrays)
    tried = np.linspace(-30, 30, 500)
    for name in [*np.unique(names), "1" * len(str(names[0]))]:
        column = np.full(500, name)
        assert tail.log_rank(tried, column).tobytes() == again.log_rank(tried, column).tobytes()


def test_eased_ranks_are_the_others_down_to_the_least_point_and_logarithmic_below_it() -> None:
    reference = Reference.fit(np.random.default_rng(0).normal(size=500))
    least = reference.points[0]
    within = np.concatenate([reference.points, np.linspace(least, reference.points[-1] + 5, 1001)])
    assert reference.log_rank(within, eased=True).tobytes() == reference.log_rank(within).tobytes()
    beyond = np.array([1e-6, 0.5, 1.0, 30.0, 1e6, 1e12, 1e100, 1e290])
    eased = reference.log_rank(least - beyond * reference.scale, eased=True)
    # As the reference sees it: far from 0 the least point itself is lost to rounding.
    excess = (least - (least - beyond * reference.scale)) / reference.scale
    assert eased == pytest.approx(math.log(1 / 501) - np.log1p(excess))
    assert (np.diff(eased) < 0).all()
    assert eased[-1] > -700, "a power of the excess, where the others leave every measure"
    plain = reference.log_rank(least - beyond * reference.scale)
    assert (eased > plain).all()
    # Near the least point they fall at the same rate.
    assert eased[0] == pytest.approx(plain[0], abs=1e-11)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80),
    st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=30),
)
@settings(max_examples=100)
def test_eased_ranks_rise_with_density_and_stay_in_range(points: list[float], values: list[float]) -> None:
    reference = Reference.fit(np.array(points))
    value = np.sort(values)
    ranks = reference.log_rank(value, eased=True)
    assert np.isfinite(ranks).all()
    assert (ranks <= 0).all()
    assert (np.diff(ranks) >= 0).all()
    low = value < min(points)
    assert (np.diff(ranks[low])[np.diff(value[low]) > 1e-3 * (1 + np.abs(value[low][:-1]))] > 0).all()


@pytest.mark.parametrize("points", [np.zeros(200), np.array([5.0]), np.full(100, -3.0) + 1e-14 * np.arange(100)])
def test_eased_extremes_never_tie_whatever_the_reference(points: np.ndarray) -> None:
    ranks = Reference.fit(points).log_rank(np.array([-1e300, -1e150, -1e12, -1e6, -1e3, -100.0]), eased=True)
    assert np.isfinite(ranks).all()
    assert (np.diff(ranks) > 0).all()


def test_eased_ranks_by_pattern_are_eased_in_every_reference() -> None:
    density, pattern = mixed()
    tail = TailRank.fit(density, pattern)
    tried = np.array([-1e6, -1e3, -50.0])
    for name in ("111", "110", "001", "101"):
        column = np.array([name] * 3)
        eased, plain = tail.log_rank(tried, column, eased=True), tail.log_rank(tried, column)
        assert (np.diff(eased) > 0).all()
        assert (eased > plain).all()
        assert eased[0] > -40
    assert tail.log_rank(tried, np.array(["000"] * 3), eased=True).tolist() == [0.0, 0.0, 0.0]
