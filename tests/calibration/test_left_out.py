"""Reference records that were left out by hand: what remains of the level, whoever they were."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from flowguard.calibration import p_value
from flowguard.calibration.left_out import rate_at_most

Choice = Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]
RUNS, ALL, OUT = 20_000, 99, 5


def strangest(scores: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return np.sort(scores)[:-OUT]


def flagged_by_lot(scores: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Of the twenty strangest, which a person may have looked at, five."""
    ordered = np.sort(scores)
    return np.delete(ordered, ALL - 20 + rng.choice(20, OUT, replace=False))


def at_random(scores: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return np.sort(rng.choice(scores, ALL - OUT, replace=False))


def rate(choose: Choice, level: float, levels: int) -> float:
    """How often a record like all of them has a p-value of at most the level."""
    rng = np.random.default_rng(levels)
    hits = 0
    for _ in range(RUNS):
        scores = np.floor(rng.random(ALL + 1) * levels)
        hits += p_value(choose(scores[:-1], rng), scores[-1:])[0] <= level
    return hits / RUNS


@pytest.mark.parametrize("choose", [strangest, flagged_by_lot, at_random])
@pytest.mark.parametrize(("level", "levels"), [(0.02, 1_000_000), (0.1, 1_000_000), (0.1, 12)])
def test_the_bound_holds_whoever_is_left_out(choose: Choice, level: float, levels: int) -> None:
    bound = rate_at_most(level, ALL - OUT, OUT)
    seen, error = rate(choose, level, levels), np.sqrt(bound * (1 - bound) / RUNS)
    assert seen <= bound + 3 * error
    if choose is at_random:
        assert seen <= level + 3 * error, "who is left out by lot costs nothing"
    if choose is strangest and levels > ALL:
        # p-values are multiples of 1 / 95: the largest that is no higher than the level counts.
        reached = (np.floor(level * (ALL - OUT + 1)) + OUT) / (ALL + 1)
        assert abs(seen - reached) <= 3 * error, "and it is met"
        assert seen > level + 3 * error


def test_anomalies_that_are_left_out_cost_an_ordinary_record_nothing() -> None:
    """Marks that go with the record alone: those without one are exchangeable among each other."""
    rng = np.random.default_rng(3)
    level, hits, judged = 0.05, 0, 0
    for _ in range(RUNS):
        odd = rng.random(100) < 0.05
        scores = rng.normal(size=100) + 2 * odd
        confirmed = odd & (scores > 1)  # looked at, and seen for what they are
        if not confirmed[-1]:
            hits += p_value(np.sort(scores[:-1][~confirmed[:-1]]), scores[-1:])[0] <= level
            judged += 1
    assert hits / judged <= level + 3 * np.sqrt(level * (1 - level) / judged)


def test_nothing_left_out_leaves_the_level() -> None:
    assert rate_at_most(0.01, 1000, 0) == 0.01
    assert rate_at_most(0.01, 0, 10) == pytest.approx(0.01 + 0.99 * 10 / 11)
    for wrong in ((0.0, 10, 1), (0.1, -1, 1), (0.1, 10, -1)):
        with pytest.raises(ValueError):
            rate_at_most(*wrong)
