"""The sum of surprises in their own spread."""

from __future__ import annotations

import numpy as np
import pytest

from flowguard.calibration.scores import Sum
from tests.calibration.many_columns import changed, parts_of, records


def test_by_hand_each_surprise_is_measured_in_its_own_spread() -> None:
    random = np.random.default_rng(0)
    n = 400
    density = random.normal([3.0, -7.0], [1.0, 5.0], (n, 2)) * np.array([[1, 1], [1, 0]])[np.arange(n) % 2]
    mass = np.log(np.full((n, 2), [1.0, 0.5]))
    parts = parts_of(mass, density, np.where(np.arange(n) % 2, "10", "11"))
    score = Sum.fit(parts)
    first, second = density[:, 0], density[::2, 1]

    def deviation(values: np.ndarray) -> float:
        return float(np.sqrt((len(values) * values.var() + 50) / (len(values) + 50)))

    assert score.score(parts)[:2] == pytest.approx(
        [
            (first.mean() - first[0]) / deviation(first) + (second.mean() - second[0]) / deviation(second),
            (first.mean() - first[1]) / deviation(first),
        ]
    )


def test_the_unit_of_a_column_does_not_matter() -> None:
    parts, _ = records(1000, 0)
    assert parts.density_terms is not None
    assert parts.mass_terms is not None
    shift = np.array([np.log(60.0), 0.0, -8.0, 0.0])
    continuous = parts.kinds("sum")[2]
    other = parts_of(parts.mass_terms, parts.density_terms + shift * continuous, parts.pattern)
    assert Sum.fit(other).score(other) == pytest.approx(Sum.fit(parts).score(parts), abs=1e-9)


def test_a_column_that_varies_more_does_not_count_for_more() -> None:
    """Two nats are four deviations of the third column, and one of the second."""
    parts, _ = records(20_000, 0, correlated=False)
    score = Sum.fit(parts)
    step = [-np.diff(score.score(changed(parts, column, np.array([-3.0, -5.0]))))[0] for column in (1, 2)]
    assert np.abs(step) == pytest.approx([2 / 2, 2 / 0.5], rel=0.05)


def test_a_rare_missing_value_is_strange_though_all_missing_values_are_as_rare() -> None:
    n = 2000
    gone = np.arange(n) % 200 == 0
    mass = np.where(gone, np.log(0.005), np.log(0.995))[:, None]
    density = np.where(gone, 0.0, np.random.default_rng(0).normal(size=n))[:, None]
    parts = parts_of(mass, density, np.where(gone, "0", "1"))
    scores = Sum.fit(parts).score(parts)
    assert scores[gone].min() > scores[~gone].max()


def test_a_column_that_hardly_varied_does_not_take_over() -> None:
    n = 1000
    density = np.column_stack([np.random.default_rng(0).normal(size=n), 1e-9 * np.arange(n)])
    parts = parts_of(np.zeros((n, 2)), density, np.full(n, "11"))
    score = Sum.fit(parts)
    nats = changed(parts, 1, np.array([0.0, -1.0]))
    assert np.diff(score.score(nats))[0] == pytest.approx(np.sqrt(1050 / 50), rel=1e-6)
