from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration import FalseAlarmRate, FalseDiscoveryRate, p_value
from flowguard.calibration.weighted import effective_size, forgetting_weights, weighted_p_value, weighted_size
from flowguard.errors import CalibrationError


def test_by_hand() -> None:
    p = weighted_p_value([3.0, 1.0, 2.0, 2.0], [4.0, 1.0, 2.0, 0.5], [0.0, 1.0, 2.0, 2.5, 3.0, 9.0])
    assert p.values == pytest.approx(np.array([8.5, 8.5, 7.5, 5.0, 5.0, 1.0]) / 8.5)
    assert p.kind == "weighted"
    own = weighted_p_value([1.0], [1.0], [5.0, 5.0], own_weight=[1.0, 3.0])
    assert own.values.tolist() == [0.5, 0.75]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.lists(st.integers(-1, 10), max_size=20))
def test_equal_weights_give_the_ranks(reference: list[int], score: list[int]) -> None:
    tried = np.array(score, dtype=float)
    p = weighted_p_value(reference, np.ones(len(reference)), tried)
    assert np.array_equal(p.values, p_value(np.sort(np.array(reference, dtype=float)), tried))


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0.01, 100)), min_size=1, max_size=15),
    st.floats(0.001, 0.999),
)
def test_likelihood_ratios_give_valid_p_values_exactly(records: list[tuple[int, float]], level: float) -> None:
    # Weighted exchangeable: given all n + 1 records, the judged one is record i with probability w_i / sum w.
    scores, weights = (np.array(column, dtype=float) for column in zip(*records, strict=True))
    chance = 0.0
    for i in range(len(scores)):
        rest = np.arange(len(scores)) != i
        if not rest.any():
            continue
        p = weighted_p_value(scores[rest], weights[rest], scores[i : i + 1], own_weight=weights[i]).values[0]
        chance += weights[i] / weights.sum() * (p <= level)
    assert chance <= level + 1e-9


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 5)), min_size=1, max_size=30))
def test_stranger_never_gets_a_larger_p_value_and_none_is_below_the_smallest(
    records: list[tuple[float, float]],
) -> None:
    scores, weights = (np.array(column) for column in zip(*records, strict=True))
    weights = weights + 1e-3
    values = weighted_p_value(scores, weights, np.linspace(-10, 10, 41)).values
    assert (np.diff(values) <= 0).all()
    assert values[0] == 1.0
    assert values[-1] == pytest.approx(1 / (float(weighted_size(weights)) + 1))


def test_under_covariate_shift_the_level_holds_where_plain_ranks_break_it() -> None:
    # Scores spread with x; the calibration has x ~ U(0, 1), the batch x ~ Beta(3, 1), of density ratio 3 x^2.
    rng = np.random.default_rng(0)
    runs, n, level = 4000, 200, 0.1
    weighted, plain = np.empty(runs), np.empty(runs)
    for run in range(runs):
        x, new = rng.random(n), rng.beta(3, 1)
        reference, score = np.abs(rng.normal(size=n)) * x, np.abs(rng.normal(size=1)) * new
        weighted[run] = weighted_p_value(reference, 3 * x**2, score, own_weight=3 * new**2).values[0]
        plain[run] = p_value(np.sort(reference), score)[0]
    error = 3 * np.sqrt(level * (1 - level) / runs)
    assert level - 0.02 - error <= (weighted <= level).mean() <= level + error
    assert (plain <= level).mean() > level + 2 * error


def test_forgetting_keeps_nearer_to_the_level_under_drift() -> None:
    # The spread of ordinary scores doubles over the calibration's 400 days.
    rng = np.random.default_rng(1)
    runs, n, level = 2000, 400, 0.05
    age = np.arange(n, 0, -1.0)
    spread = 2 - age / n
    weights = forgetting_weights(age, 40.0)
    values, plain = np.empty(runs), np.empty(runs)
    for run in range(runs):
        reference, score = rng.exponential(spread), 2 * rng.exponential(size=1)
        values[run] = weighted_p_value(reference, weights, score).values[0]
        plain[run] = p_value(np.sort(reference), score)[0]
    assert (plain <= level).mean() > 0.08
    assert abs((values <= level).mean() - level) < 0.02


def test_sizes_by_hand() -> None:
    assert float(weighted_size([2.0, 2.0, 4.0], 2.0)) == 4.0
    assert weighted_size([2.0, 2.0], [1.0, 2.0]).tolist() == [4.0, 2.0]
    assert effective_size(np.ones(7)) == 7.0
    assert effective_size([1e300, 1e300]) == 2.0
    assert forgetting_weights([0.0, 10.0], 10.0).tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    "given_",
    [
        ([1.0], [-1.0], [0.0]),
        ([1.0], [0.0], [0.0]),
        ([1.0], [np.inf], [0.0]),
        ([1.0], [np.nan], [0.0]),
        ([1.0], [1.0, 1.0], [0.0]),
        ([np.nan], [1.0], [0.0]),
        ([1.0], [1.0], [np.nan]),
        ([1.0], [1.0], [0.0], 0.0),
        ([1.0], [1.0], [0.0], np.inf),
        ([1.0], [1.0], [0.0], [1.0, 1.0]),
        ([], [], [0.0]),
    ],
)
def test_weights_and_scores_that_are_none_are_refused(given_: Any) -> None:
    with pytest.raises(ValueError):
        weighted_p_value(*given_)


def test_ages_that_are_none_are_refused() -> None:
    for age, half_life in (([-1.0], 7.0), ([np.nan], 7.0), ([1.0], 0.0), ([1.0], float("nan"))):
        with pytest.raises(ValueError):
            forgetting_weights(age, half_life)


def test_policies_know_that_they_are_approximate() -> None:
    weights = np.ones(99)
    p = weighted_p_value(np.arange(99.0), weights, [200.0])
    decision = FalseAlarmRate(0.01).decide(p, n_reference=weighted_size(weights))
    assert decision.flag.all()
    assert "about 1 %" in decision.guarantee
    with pytest.raises(CalibrationError, match="approximate"):
        FalseDiscoveryRate(0.1).decide(p, n_reference=99)
