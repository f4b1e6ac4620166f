from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration.drift import batch_p_value


def both(level: np.ndarray) -> np.ndarray:
    """Spreads that say nothing."""
    return np.stack([level, np.zeros(len(level))], axis=1)


def test_p_values_by_hand() -> None:
    earlier = both(np.arange(1.0, 10.0))
    # 2 * 2 (1 + above) / 10, at most 1; ties count against the batch.
    assert batch_p_value(earlier, np.array([9.5, 0.0])).p_value == pytest.approx(0.4)
    assert batch_p_value(earlier, np.array([9.0, 0.0])).p_value == pytest.approx(0.8)
    assert batch_p_value(earlier, np.array([5.0, 0.0])).p_value == 1.0
    low = batch_p_value(earlier, np.array([0.5, 0.0]))
    assert (low.p_value, low.measure, low.direction) == (pytest.approx(0.4), "level", -1)


def test_few_or_equal_batches_extrapolate_nothing() -> None:
    assert not batch_p_value(both(np.arange(19.0)), np.array([1e6, 0.0])).beyond
    assert not batch_p_value(both(np.zeros(50)), np.array([1e6, 0.0])).beyond
    assert batch_p_value(np.zeros((0, 2)), np.array([1.0, 1.0])).p_value == 1.0
    assert batch_p_value(np.zeros((5, 2)), np.array([np.nan, np.nan])).p_value == 1.0


def test_farther_out_is_never_likelier() -> None:
    earlier = both(np.random.default_rng(0).normal(size=200))
    values = [batch_p_value(earlier, np.array([at, 0.0])) for at in np.linspace(2.5, 12, 50)]
    assert np.all(np.diff([one.p_value for one in values]) <= 0)
    assert values[-1].beyond
    assert 0 < values[-1].p_value < 1e-6


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_ranks_are_valid_for_every_finite_population(population: list[int]) -> None:
    values = np.array(population, dtype=float)
    found = [batch_p_value(both(np.delete(values, i)), np.array([values[i], 0.0])).p_value for i in range(len(values))]
    for level in set(found):
        assert np.mean(np.array(found) <= level) <= level + 1e-12


@pytest.mark.parametrize("draw", ["normal", "laplace"])
def test_the_extrapolated_tail_holds_its_rate(draw: str) -> None:
    random = np.random.default_rng(1)
    values = getattr(random, draw)(size=(4000, 61, 2))
    p = np.array([batch_p_value(year[:-1], year[-1]).p_value for year in values])
    for level in (0.01, 0.03):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level / 4000)
