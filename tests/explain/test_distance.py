from __future__ import annotations

import math

import numpy as np
import pytest

from flowguard.explain import Reason
from flowguard.explain.distance import distance, gap_in, rule


def reason(observed, low=90.0, high=110.0) -> Reason:
    return Reason("r", 1, "x", 8.0, 8.0, observed, f"{observed}", low, high, "")


def test_the_distance_is_that_from_the_middle_in_half_widths():
    assert distance(reason(110.0)) == distance(reason(90.0)) == distance(reason(100.0)) == 0.0
    assert distance(reason(120.0)) == pytest.approx(math.log(2))
    assert distance(reason(80.0)) == pytest.approx(math.log(2))


@pytest.mark.parametrize("low", [None, 110.0])
def test_without_a_range_of_some_width_there_is_no_distance(low):
    assert distance(reason(500.0, low=low, high=110.0)) == 0.0
    assert distance(reason(None)) == distance(None) == 0.0
    assert math.isfinite(distance(reason(1e300, low=0.0, high=1e-300)))


def test_two_parts_are_told_apart_and_a_record_between_them_does_not_join_them():
    rng = np.random.default_rng(0)
    near, far = rng.normal(1.0, 0.1, 60), rng.normal(4.0, 0.1, 120)
    for between in ([], [2.5]):
        gap, at = gap_in(np.sort(np.concatenate([near, far, between])))
        assert gap > 1.0
        assert 1.3 < at < 3.7


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n", [6, 30, 300])
def test_one_long_tail_is_not_parted(seed, n):
    tail = np.random.default_rng(seed).exponential(0.5, n)
    assert gap_in(np.sort(tail)) == (0.0, 0.0)


def test_what_is_the_same_factor_off_is_told_as_a_factor():
    rng = np.random.default_rng(1)
    usual = rng.uniform(80, 120, 50)
    high = [reason(60 * v * u, low=v - 5, high=v + 5) for v, u in zip(usual, rng.uniform(0.97, 1.03, 50))]
    low = [reason(v / 3.6, low=v - 5, high=v + 5) for v in usual]
    assert rule(high) == " (about 60 times what was expected)"
    assert rule(low) == " (about 1/3.6 of what was expected)"


def test_what_is_the_same_amount_off_is_told_as_an_amount():
    usual = np.random.default_rng(2).uniform(-20, 20, 50)
    assert rule([reason(v - 273.15, low=v - 3, high=v + 3) for v in usual]) == " (about 270 less than expected)"


def test_what_is_off_by_all_kinds_of_amounts_has_no_rule():
    rng = np.random.default_rng(3)
    assert rule([reason(v) for v in rng.exponential(300, 50) + 115]) == ""
    assert rule([]) == ""
    assert rule([reason(None)] * 9) == ""
