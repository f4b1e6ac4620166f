from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.calibration import p_value, size_needed, smallest_level


def test_p_values_by_hand() -> None:
    reference = np.array([1.0, 2.0, 2.0, 5.0])
    assert p_value(reference, np.array([0.0, 1.0, 2.0, 3.0, 5.0, 9.0])).tolist() == [1.0, 1.0, 0.8, 0.4, 0.4, 0.2]


def test_ties_count_against_the_record() -> None:
    assert p_value(np.zeros(9), np.zeros(1))[0] == 1.0


def test_an_infinite_score_is_the_strangest() -> None:
    assert p_value(np.arange(9.0), np.array([np.inf]))[0] == smallest_level(9) == 0.1


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        p_value(np.zeros(3), np.array([0.0, np.nan]))


@pytest.mark.parametrize(("level", "size"), [(0.5, 1), (0.1, 9), (0.01, 99), (0.001, 999), (0.3, 3), (1e-6, 999_999)])
def test_the_size_needed_is_the_smallest_that_reaches_the_level(level: float, size: int) -> None:
    assert size_needed(level) == size
    assert smallest_level(size) <= level
    assert smallest_level(size - 1) > level


@given(st.floats(1e-7, 0.999))
def test_one_record_fewer_never_reaches_the_level(level: float) -> None:
    n = size_needed(level)
    assert smallest_level(n) <= level
    assert n == 1 or smallest_level(n - 1) > level


def test_levels_outside_zero_and_one_are_refused() -> None:
    for level in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ValueError):
            size_needed(level)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
@settings(max_examples=100)
def test_p_values_are_valid_for_every_finite_population_with_ties(population: list[int]) -> None:
    # Exchangeable: each of n + 1 records is equally likely to be the one judged. Exact, no simulation.
    scores = np.array(population, dtype=float)
    values = np.array([p_value(np.sort(np.delete(scores, i)), scores[i : i + 1])[0] for i in range(len(scores))])
    for level in np.unique(values):
        assert (values <= level).mean() <= level + 1e-12


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_stranger_never_gets_a_larger_p_value(reference: list[float], scores: list[float]) -> None:
    values = p_value(np.sort(reference), np.sort(scores))
    assert (np.diff(values) <= 0).all()
    assert (values >= smallest_level(len(reference))).all()
    assert (values <= 1).all()
