from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration.drift.onset import above, effect, onset, pooled, slow


@given(st.integers(1, 59), st.integers(0, 100))
def test_the_onset_of_a_clear_step_is_found(start: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.uniform(-1, 1, size=60)
    values[start:] += 10
    assert onset(values) == start
    assert effect(values, start) > 5


def test_batches_without_a_statistic_are_left_out() -> None:
    values = np.array([0.0, np.nan, 0.1, np.nan, 0.0, 5.0, np.nan, 5.1])
    assert onset(values) == 5
    assert onset(np.array([np.nan, 1.0])) == 1


def test_how_far_batches_lie_above_is_judged_together_and_by_calibration_where_none_came_before() -> None:
    values = np.array([np.nan, np.nan, 1.0, 2.0, 3.0, 2.0])
    assert above(values, 2) == pytest.approx(4.0)
    assert above(np.array([1.0, 1.0, 2.0]), 2) == pytest.approx(1.0)
    assert np.isnan(above(np.array([1.0, np.nan]), 1))


def test_shares_are_pooled_by_their_records() -> None:
    shares, records = np.array([0.5, 0.0, 1.0, np.nan, 0.0]), np.array([9.0, 300.0, 100.0, 50.0, 0.0])
    assert pooled(shares, records, 1) == pytest.approx(0.25)
    assert pooled(shares, records, 0, 1) == 0.5
    assert np.isnan(pooled(shares, records, 3))


def test_one_wild_batch_is_not_the_change() -> None:
    values = np.random.default_rng(0).normal(size=100)
    values[20] = 1e9
    values[90:] += 5
    assert onset(values) == 90


def test_the_effect_by_hand() -> None:
    values = np.array([-1.0, 1.0, 3.0, 3.0])
    assert effect(values, 2) == pytest.approx(3 / (np.sqrt(2) * np.sqrt(1 / 2 + 1 / 2)))
    assert effect(np.array([0.0, 0.0, 1.0]), 2) == pytest.approx(1 / (0.25 * np.sqrt(1 / 2 + 1)))
    assert effect(values, 0) == effect(values, 4) == 0.0
    assert effect(np.array([np.nan, np.nan, 1.0]), 2) == 0.0


def test_seasons_and_slow_rises_are_slow_and_steps_are_not() -> None:
    days = np.arange(130.0)
    noise = np.random.default_rng(1).normal(0, 0.5, size=130)
    assert slow(days, noise + 2 * np.sin(2 * np.pi * (days - 100) / 365.25))
    assert slow(days, noise + 0.08 * np.maximum(0, days - 90))
    for start in (40, 100, 120):
        assert not slow(days, noise + 2 * (days >= start))
    assert not slow(days[:5], noise[:5])
    assert not slow(days[:15], noise[:15] + days[:15])


def test_a_year_of_gaps_is_a_season_still() -> None:
    random = np.random.default_rng(2)
    days = np.sort(random.choice(365, size=180, replace=False)).astype(float)
    days = np.append(days, np.arange(365.0, 400.0))
    values = np.cos(2 * np.pi * days / 365.25) + random.normal(0, 0.3, size=len(days))
    values[::7] = np.nan
    assert slow(days, values)
