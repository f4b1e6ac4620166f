from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration import FalseAlarmRate, FalseDiscoveryRate, cross_p_value
from flowguard.errors import CalibrationError


def test_by_hand() -> None:
    # First record: 4 of {1, 4} at least 3.5, 3 of {2, 3} at least 2.5: (1 + 2) / 5. Ties count against.
    p = cross_p_value([[4.0, 1.0], [2.0, 3.0]], [[3.5, 2.5], [4.0, 3.0], [0.0, 0.0], [9.0, 9.0]])
    assert p.values.tolist() == [0.6, 0.6, 1.0, 0.2]
    assert p.kind == "cross"


def test_the_bound_by_hand() -> None:
    jackknife = cross_p_value([[0.0]] * 10, np.zeros((1, 10)))
    assert (jackknife.factor, jackknife.excess) == (2.0, 0.0)
    equal = cross_p_value([np.zeros(20)] * 5, np.zeros((1, 5)))
    assert equal.excess == pytest.approx(min(2 * 4 / 105, (1 - 5 / 100) / 6))
    unequal = cross_p_value([np.zeros(1), np.zeros(99)], np.zeros((1, 2)))
    assert unequal.excess == pytest.approx(2 * 1 / 102)
    assert unequal.bound(0.05) == pytest.approx(0.1 + 2 / 102)


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=6), min_size=2, max_size=4), st.integers(0, 6))
def test_a_model_that_does_not_depend_on_its_folds_gives_the_ranks_of_all(folds: list[list[int]], score: int) -> None:
    every = np.concatenate(folds)
    p = cross_p_value(folds, np.full((1, len(folds)), float(score)))
    assert p.values[0] == (1 + (every >= score).sum()) / (len(every) + 1)


@pytest.mark.parametrize(
    ("reference", "score"),
    [
        ([[1.0]], [[1.0]]),
        ([[1.0], []], [[1.0, 1.0]]),
        ([[1.0], [2.0]], [[1.0]]),
        ([[1.0], [2.0]], [1.0, 2.0]),
        ([[1.0], [np.nan]], [[1.0, 2.0]]),
        ([[1.0], [2.0]], [[1.0, np.nan]]),
    ],
)
def test_folds_and_scores_that_cannot_be_ranked_are_refused(reference: Any, score: Any) -> None:
    with pytest.raises(ValueError):
        cross_p_value(reference, score)


def test_no_record_gives_no_p_value() -> None:
    assert len(cross_p_value([[1.0], [2.0]], np.zeros((0, 2)))) == 0


def test_policies_know_the_weaker_bound() -> None:
    p = cross_p_value([[0.0]] * 99, np.full((1, 99), 1.0))
    assert "at most 2 %" in FalseAlarmRate(0.01).decide(p, n_reference=99).guarantee
    with pytest.raises(CalibrationError, match="factor of 2"):
        FalseDiscoveryRate(0.1).decide(p, n_reference=99)


@pytest.mark.parametrize("folds", [4, 20])
def test_the_bound_holds_and_the_rate_is_near_the_level(folds: int) -> None:
    # 20 records of 3 columns, scored by the distance to the mean of those that the model saw: far from stable.
    rng = np.random.default_rng(folds)
    n, runs = 20, 2000
    of = np.arange(n) % folds
    values = np.empty(runs)
    for run in range(runs):
        x, new = rng.standard_t(3, size=(n, 3)), rng.standard_t(3, size=3)
        means = [x[of != k].mean(0) for k in range(folds)]
        reference = [np.linalg.norm(x[of == k] - mean, axis=1) for k, mean in enumerate(means)]
        p = cross_p_value(reference, [[np.linalg.norm(new - mean) for mean in means]])
        values[run] = p.values[0]
    for level in (0.05, 0.1, 0.2):
        error = 3 * np.sqrt(level * (1 - level) / runs)
        assert (values <= level).mean() <= p.bound(level) + error  # type: ignore[operator]
        assert abs((values <= level).mean() - np.floor(level * 21 + 1e-9) / 21) <= 0.02 + error
