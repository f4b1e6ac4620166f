from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from flowguard.calibration.pareto import anderson_darling, posterior, zhang_stephens


def test_zhang_and_stephens_are_close_to_the_greatest_likelihood() -> None:
    x = np.sort(stats.genpareto(0.2, scale=3).rvs(2000, random_state=0))
    shape, scale = zhang_stephens(x[None])
    best_shape, _, best_scale = stats.genpareto.fit(x, floc=0)
    assert shape[0] == pytest.approx(best_shape, abs=0.03)
    assert scale[0] == pytest.approx(best_scale, rel=0.03)


def test_the_anderson_darling_statistic_is_that_of_its_integral() -> None:
    x = np.sort(stats.expon.rvs(size=5, random_state=0))
    u = stats.genpareto(0.2, scale=1.5).cdf(x)
    edges, total = np.r_[0.0, u, 1.0], 0.0
    for k, (low, high) in enumerate(pairwise(edges)):
        grid = np.linspace(low, high, 200_002)[1:-1]
        total += float(np.trapezoid((k / 5 - grid) ** 2 / (grid * (1 - grid)), grid))
    assert anderson_darling(x[None], np.array([0.2]), np.array([1.5]))[0] == pytest.approx(5 * total, rel=1e-3)


def test_no_tail_of_the_posterior_ends_below_what_was_seen() -> None:
    samples = np.sort(np.random.default_rng(0).random((50, 40)), axis=1)
    theta, shape, weight = posterior(samples)
    assert (theta < 1 / samples[:, -1:]).all()
    assert (np.sign(theta) == -np.sign(shape)).all()
    assert weight.sum(-1) == pytest.approx(np.ones(50))


def test_samples_are_fitted_each_by_itself() -> None:
    samples = np.sort(np.random.default_rng(1).exponential(size=(5, 60)), axis=1)
    shape, scale = zhang_stephens(samples)
    for one in range(5):
        alone = zhang_stephens(samples[one : one + 1])
        assert (alone[0][0], alone[1][0]) == pytest.approx((shape[one], scale[one]), rel=1e-12)
