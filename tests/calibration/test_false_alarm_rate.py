from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration import FalseAlarmRate, p_value, size_needed
from flowguard.errors import CalibrationError


def test_a_rate_beyond_the_records_is_refused_with_the_size_it_needs() -> None:
    with pytest.raises(CalibrationError) as caught:
        FalseAlarmRate(0.001).check(500)
    text = str(caught.value)
    assert "500" in text
    assert "999" in text
    assert "0.002" in text
    FalseAlarmRate(0.001).check(999)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_rate_that_is_no_rate_is_refused(rate: float) -> None:
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        FalseAlarmRate(rate)


def test_nan_is_never_an_unflagged_p_value() -> None:
    with pytest.raises(ValueError, match="NaN"):
        FalseAlarmRate(0.1).flag(np.array([0.5, np.nan]))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_above_the_threshold_and_flagged_are_the_same(scores: list[int], rate: float) -> None:
    reference = np.sort(np.array(scores, dtype=float))
    policy = FalseAlarmRate(rate)
    if len(reference) < size_needed(rate):
        with pytest.raises(CalibrationError):
            policy.threshold(reference)
        return
    tried = np.concatenate([reference, reference + 0.5, [-1.0, 99.0]])
    flags = policy.flag(p_value(reference, tried))
    assert np.array_equal(flags, tried > policy.threshold(reference))


def test_the_threshold_by_hand() -> None:
    assert FalseAlarmRate(0.1).threshold(np.arange(9.0)) == 8.0
    assert FalseAlarmRate(0.2).threshold(np.arange(9.0)) == 7.0
    assert FalseAlarmRate(0.3).threshold(np.arange(9.0)) == 6.0
    assert FalseAlarmRate(0.999).threshold(np.arange(9.0)) == 0.0
