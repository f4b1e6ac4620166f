"""Typicality: the middle is ordinary, and both ends of the density are strange."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flowguard.calibration import Calibration, FalseAlarmRate, Parts
from flowguard.calibration.scores import Typicality


def gaussian(n: int, columns: int, seed: int, scale: float = 1.0) -> Parts:
    x = scale * np.random.default_rng(seed).normal(size=(n, columns))
    density = -0.5 * (x**2).sum(axis=1) - columns / 2 * math.log(2 * math.pi)
    return Parts(np.zeros(n), density, np.full(n, "1" * columns))


def of(score: Typicality, density: np.ndarray, mass: float = 0.0, pattern: str = "1") -> np.ndarray:
    return score.score(Parts(np.full(len(density), mass), density, np.full(len(density), pattern)))


def test_by_hand_it_is_twice_the_smaller_rank() -> None:
    score = Typicality.fit(Parts(np.zeros(100), np.arange(100.0), np.full(100, "1")))
    found = of(score, np.array([0.0, 9.0, 90.0, 99.0]), mass=-0.5)
    assert found == pytest.approx(0.5 - np.log([2 / 101, 20 / 101, 20 / 101, 2 / 101]))
    assert of(score, np.array([49.5]), mass=-0.5)[0] == pytest.approx(0.5, abs=0.02)


def test_both_ends_go_on_strictly_beyond_the_reference() -> None:
    score = Typicality.fit(gaussian(500, 3, 0))
    for far in (-np.array([20.0, 1e2, 1e6, 1e100, 1e300]), np.array([0.0, 5.0, 1e2, 1e6, 1e100, 1e300])):
        found = of(score, far, pattern="111")
        assert (np.diff(found) > 0).all()
        assert np.isfinite(found).all()


def test_a_block_of_modal_records_is_flagged_which_no_lower_tail_sees() -> None:
    held, units = gaussian(2000, 50, 0), np.arange(2000)
    block = gaussian(100, 50, 1, scale=0.1)
    two_sided = Calibration.fit(held, units, policy=FalseAlarmRate(0.01), score="typicality")
    plain = Calibration.fit(held, units, policy=FalseAlarmRate(0.01))
    assert two_sided.decide(two_sided.p_value(two_sided.score(block))).flag.all()
    assert not plain.decide(plain.p_value(plain.score(block))).flag.any()
    odd = gaussian(100, 50, 2, scale=2.0)
    assert two_sided.decide(two_sided.p_value(two_sided.score(odd))).flag.all()


def test_where_nothing_is_continuous_only_the_probability_counts() -> None:
    score = Typicality.fit(gaussian(200, 1, 0))
    assert of(score, np.zeros(1), mass=-2.5, pattern="0")[0] == 2.5
