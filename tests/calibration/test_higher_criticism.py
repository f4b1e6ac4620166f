"""Higher criticism: a few odd columns among many, none of them absurd."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration import Calibration, FalseAlarmRate, Parts
from flowguard.calibration.scores import HigherCriticism


def ranked(log_p: np.ndarray) -> Parts:
    """Discrete columns alone, so that their ranks are what they are given as."""
    return Parts(
        log_p.sum(axis=1), np.zeros(len(log_p)), np.full(len(log_p), "2" * log_p.shape[1]), log_p, np.zeros(log_p.shape)
    )


def scored(log_p: np.ndarray) -> np.ndarray:
    return HigherCriticism.fit(ranked(np.full((10, log_p.shape[1]), -1.0))).score(ranked(log_p))


def textbook(p: np.ndarray) -> float:
    """Donoho & Jin (2004), (1.2), up to half of the columns."""
    p, k = np.sort(p), len(p)
    i = np.arange(1, math.ceil(k / 2) + 1)
    p = p[: len(i)]
    return float(np.max((i / k - p) / np.sqrt(p * (1 - p) / k)))


@given(st.lists(st.floats(1e-12, 1 - 1e-9), min_size=1, max_size=12))
def test_it_is_asinh_of_the_statistic_in_the_paper(p: list[float]) -> None:
    found = scored(np.log(np.array([p])))[0]
    assert found == pytest.approx(np.arcsinh(textbook(np.array(p))), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("columns", [1, 2, 3, 40])
def test_a_single_absurd_column_is_strictly_stranger_the_smaller_its_rank(columns: int) -> None:
    logs = np.array([-20.0, -50.0, -690.0, -690.8, -691.0, -745.0, -1e4, -1e6, -1e100, -1e299, -1e300])
    log_p = np.full((len(logs), columns), math.log(0.5))
    log_p[:, 0] = logs
    found = scored(log_p)
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()


def test_ranks_of_one_are_as_ordinary_as_can_be() -> None:
    for columns in (1, 2, 5):
        ones, half = scored(np.zeros((1, columns)))[0], scored(np.full((1, columns), math.log(0.5)))[0]
        assert np.isfinite(ones)
        assert ones <= half


def test_a_column_counts_by_its_probability_and_its_rank_together() -> None:
    """A value in a column that is hardly ever there is odd, however usual a value it is."""
    density = np.arange(99.0)[:, None]
    score = HigherCriticism.fit(Parts(np.zeros(99), density[:, 0], np.full(99, "1"), np.zeros((99, 1)), density))
    mass = np.log([[1.0], [0.01]])
    found = score.score(Parts(mass[:, 0], [49.0, 49.0], ["1", "1"], mass, [[49.0], [49.0]]))
    p = np.array([0.5, 0.005])
    assert found == pytest.approx(np.arcsinh(np.sqrt((1 - p) / p)))


def test_several_odd_columns_among_many_stand_out_more_than_in_their_largest() -> None:
    random = np.random.default_rng(2)
    columns = 60

    def terms(n: int, odd: int) -> np.ndarray:
        found = random.exponential(1.0, (n, columns))
        found[:, :odd] += 4.0
        return -found

    def parts(density: np.ndarray) -> Parts:
        n = len(density)
        return Parts(np.zeros(n), density.sum(axis=1), np.full(n, "1" * columns), np.zeros_like(density), density)

    held, odd = parts(terms(4000, 0)), parts(terms(300, 14))
    share = {}
    for name in ("higher_criticism", "largest"):
        calibration = Calibration.fit(held, np.arange(4000), policy=FalseAlarmRate(0.01), score=name)  # type: ignore[arg-type]
        share[name] = calibration.decide(calibration.p_value(calibration.score(odd))).flag.mean()
    assert share["higher_criticism"] > 0.7 > 0.4 > share["largest"], share
