from __future__ import annotations

import numpy as np
import pytest

from flowguard.calibration import Aging


def test_a_window_cuts_and_a_half_life_halves() -> None:
    age = [0, 6, 7, 100]
    assert Aging(window=7).weights(age).tolist() == [1, 1, 0, 0]
    assert Aging(half_life=7.0).weights([0, 7, 14]).tolist() == [1, 0.5, 0.25]
    assert Aging(half_life=3.0, window=7).weights(age) == pytest.approx([1, 0.25, 0, 0])


def test_days_to_come_count_as_those_past_and_what_is_forgotten_is_out() -> None:
    aging = Aging(half_life=2.0)
    assert aging.horizon == 20
    assert aging.weights([-2, 2, 19, 20, 10**6]).tolist() == [0.5, 0.5, 2**-9.5, 0, 0]


def test_it_is_said_in_words_and_survives_json() -> None:
    for aging, words in (
        (Aging(window=28), "the last 28 days"),
        (Aging(half_life=1.0), "half the weight every day"),
        (Aging(half_life=14.0, window=28), "the last 28 days, half the weight every 14 days"),
    ):
        assert aging.words == words
        assert Aging.from_dict(aging.to_dict()) == aging


@pytest.mark.parametrize("wrong", [{}, {"half_life": 0.0}, {"half_life": float("nan")}, {"window": 0}])
def test_an_aging_that_means_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"half-life|window"):
        Aging(**wrong)  # type: ignore[arg-type]


def test_weights_never_rise_with_age() -> None:
    weights = Aging(half_life=5.5, window=40).weights(np.arange(60))
    assert (np.diff(weights) <= 0).all()
