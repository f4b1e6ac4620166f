from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration import p_value, weighted_p_value
from flowguard.calibration.ranks import ranked, size_of, threshold_at

SCORES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=30)


def test_without_more_it_is_the_plain_rank() -> None:
    reference, score = np.array([1.0, 2.0, 2.0]), np.array([0.0, 2.0, 3.0])
    found, beyond = ranked(reference, score)
    assert np.array_equal(found, p_value(reference, score))
    assert not beyond.any()
    assert size_of(reference) == 3


def test_weights_of_one_change_nothing_and_an_empty_reference_says_nothing() -> None:
    reference, score = np.array([1.0, 2.0, 2.0]), np.array([0.0, 2.0, 3.0])
    assert np.array_equal(ranked(reference, score, weights=np.ones(3))[0], p_value(reference, score))
    assert ranked(np.zeros(0), score, weights=np.zeros(0))[0].tolist() == [1, 1, 1]
    assert size_of(np.zeros(0), np.zeros(0)) == 0
    assert size_of(reference, np.array([1.0, 0.5, 0.25])) == 1.75


def test_ties_by_lot_lie_between_the_ranks_around_them() -> None:
    reference, score = np.array([1.0, 2.0, 2.0]), np.full(3, 2.0)
    found, _ = ranked(reference, score, lot=np.array([0.01, 0.5, 0.99]))
    assert (found < p_value(reference, score)).all()
    assert (np.diff(found) > 0).all()


@given(scores=SCORES, rate=st.sampled_from([0.05, 0.1, 0.3, 0.5]), seed=st.integers(0, 9))
def test_what_lies_above_the_threshold_is_what_has_a_small_p_value(scores: list[float], rate: float, seed: int) -> None:
    reference = np.sort(scores)
    weights = np.random.default_rng(seed).random(len(reference))
    limit = threshold_at(rate, reference, weights=weights)
    tried = np.arange(-6.0, 6.5, 0.5)
    small = weighted_p_value(reference, weights, tried).values <= rate
    assert np.array_equal(tried > limit, small)


def test_weights_that_cannot_reach_the_rate_have_no_threshold() -> None:
    assert threshold_at(0.1, np.arange(50.0), weights=np.full(50, 0.1)) == float("inf")
    assert threshold_at(0.1, np.arange(9.0), weights=np.ones(9)) == threshold_at(0.1, np.arange(9.0)) == 8.0
    with pytest.raises(Exception, match="9 calibration records"):
        threshold_at(0.1, np.arange(8.0))
