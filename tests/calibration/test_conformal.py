from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from flowguard.calibration import p_value, size_needed, smallest_level, smoothed_p_value, uniform_of


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


def test_smoothed_p_values_by_hand() -> None:
    reference = np.array([1.0, 2.0, 2.0, 5.0])
    tried = np.array([0.0, 1.0, 2.0, 3.0, 5.0, 9.0])
    assert smoothed_p_value(reference, tried, np.full(6, 0.5)) == pytest.approx([0.9, 0.8, 0.5, 0.3, 0.2, 0.1])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(-1, 6), st.floats(0.001, 0.999))
def test_smoothed_is_never_above_the_rank_and_never_below_the_next(scores: list[int], score: int, u: float) -> None:
    reference, tried = np.sort(np.array(scores, dtype=float)), np.array([float(score)])
    smoothed = smoothed_p_value(reference, tried, [u])[0]
    assert 0 < smoothed < p_value(reference, tried)[0]
    assert smoothed >= (reference > score).sum() / (len(reference) + 1)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=10), st.integers(1, 400))
def test_smoothed_p_values_are_exact_for_every_finite_population_with_ties(population: list[int], step: int) -> None:
    # Each of n + 1 records is equally likely to be the one judged, and u is uniform: P(p <= a) = a, no simulation.
    scores, level, size = np.array(population), step / 401, len(population)
    above = np.array([(scores > score).sum() for score in scores])
    equal = np.array([(scores == score).sum() for score in scores])
    assert np.clip((level * size - above) / equal, 0, 1).mean() == pytest.approx(level)


def test_random_numbers_that_would_make_a_p_value_zero_are_refused() -> None:
    for u in ([0.0], [1.0], [np.nan], [0.5, 0.5]):
        with pytest.raises(ValueError):
            smoothed_p_value(np.zeros(3), np.zeros(1), u)


def test_uniform_numbers_follow_the_record_and_not_its_place() -> None:
    ids = [f"record {i}" for i in range(20_000)]
    u = uniform_of(ids)
    assert np.array_equal(uniform_of(ids[::-1]), u[::-1])
    assert np.array_equal(uniform_of(np.array(ids[:5])), u[:5])
    assert np.array_equal(uniform_of([1, 2]), uniform_of(np.array(["1", "2"])))
    assert uniform_of([]).shape == (0,)
    assert kstest(u, "uniform").pvalue > 0.01
    salted = uniform_of(ids, "version 2")
    assert kstest(salted, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(u, salted)[0, 1]) < 0.03
    assert u.min() > 0
    assert u.max() < 1


def test_uniform_numbers_are_the_same_everywhere() -> None:
    assert uniform_of(["a", 7]).tolist() == [0.640789467092264, 0.8267876428796448]


def test_a_key_breaks_ties_by_the_record() -> None:
    reference, ids = np.zeros(999), [str(i) for i in range(2000)]
    p = p_value(reference, np.zeros(2000), key=ids, salt="v1")
    assert np.array_equal(p, smoothed_p_value(reference, np.zeros(2000), uniform_of(ids, "v1")))
    assert kstest(p, "uniform").pvalue > 0.01
    assert (p_value(reference, np.zeros(2000)) == 1).all()


@pytest.mark.parametrize("levels", [1, 3, 1_000_000])
def test_p_values_hold_their_level_over_fresh_references(levels: int) -> None:
    # Scores rounded to few values tie heavily; 20,000 references of 19 each, one record each.
    rng = np.random.default_rng(levels)
    runs = 20_000
    reference = np.floor(rng.random((runs, 19)) * levels)
    score = np.floor(rng.random(runs) * levels)
    ranks = (1 + (reference >= score[:, None]).sum(1)) / 20
    some = slice(0, 200)
    assert np.array_equal(
        ranks[some], [p_value(np.sort(r), np.array([s]))[0] for r, s in zip(reference[some], score[some], strict=True)]
    )
    smoothed = (
        (reference > score[:, None]).sum(1) + rng.random(runs) * (1 + (reference == score[:, None]).sum(1))
    ) / 20
    for level in (0.05, 0.1, 0.5):
        error = 3 * np.sqrt(level * (1 - level) / runs)
        assert (ranks <= level).mean() <= level + error
        assert abs((smoothed <= level).mean() - level) <= error
