from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration import FalseAlarmRate, PValues, p_value, size_needed
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


def test_the_decision_by_hand() -> None:
    decision = FalseAlarmRate(0.1).decide([0.05, 0.1, 0.11, 1.0], n_reference=19)
    assert decision.flag.tolist() == [True, True, False, False]
    assert (decision.level, decision.note, decision.discoveries) == (0.1, None, 2)
    assert decision.guarantee == "An ordinary record is flagged with probability at most 10 %."


def test_a_reference_too_small_flags_nothing_and_says_how_many_are_needed() -> None:
    decision = FalseAlarmRate(0.001).decide([0.01, 0.5], n_reference=99)
    assert not decision.flag.any()
    assert decision.level == 0.0
    assert decision.note is not None
    assert "999 are needed" in decision.note
    assert "nothing can be flagged" in decision.note


def test_groups_too_small_flag_nothing_and_the_others_do() -> None:
    decision = FalseAlarmRate(0.01).decide([0.01, 0.02], n_reference=[99, 49])
    assert decision.flag.tolist() == [True, False]
    assert decision.level == 0.01
    assert decision.note is not None
    assert "1 of 2 records" in decision.note
    assert "at most 49" in decision.note


def test_the_guarantee_is_that_of_the_p_values() -> None:
    policy, two = FalseAlarmRate(0.01), np.array([0.01, 0.5])
    cross = policy.decide(PValues(two, "cross", factor=2.0, excess=0.005), n_reference=99)
    assert "at most 2.5 %" in cross.guarantee
    weighted = policy.decide(PValues(two, "weighted"), n_reference=99)
    assert "about 1 %" in weighted.guarantee
    assert weighted.note is not None
    assert "weights" in weighted.note
    tail = policy.decide(np.array([0.0001, 0.5]), n_reference=50)
    assert tail.flag.tolist() == [True, False]
    assert "model of the tail" in tail.guarantee
    assert tail.note is not None
    assert "model of the tail" in tail.note
    smoothed = policy.decide(PValues(np.array([0.001]), "smoothed"), n_reference=50)
    assert smoothed.flag.all()
    assert "at most 1 %" in smoothed.guarantee
    assert smoothed.note is not None
    assert "by lot" in smoothed.note


def test_with_a_tail_the_level_may_lie_below_the_ranks_and_says_what_it_rests_on() -> None:
    policy = FalseAlarmRate(1e-4, extrapolate=True)
    assert policy.size_wanted == 200
    policy.check(200)
    with pytest.raises(CalibrationError, match="needs 200 calibration records in the reference; there are 199"):
        policy.check(199)
    with pytest.raises(CalibrationError, match="needs 9,999 calibration records"):
        FalseAlarmRate(1e-6, extrapolate=True).check(5000)
    # Also of a batch that has no p-value below the ranks: that nothing is flagged is no want of records.
    for p in ([0.5, 0.01], [0.5, 1e-5]):
        decision = policy.decide(p, n_reference=999)
        assert decision.level == 1e-4
        assert decision.discoveries == (min(p) <= 1e-4)
        assert "if the model of the tail holds" in decision.guarantee
        assert "rest on the model of the tail" in (decision.note or "")
    exact = FalseAlarmRate(0.01, extrapolate=True).decide([0.5, 1e-5], n_reference=999)
    assert exact.guarantee == "An ordinary record is flagged with probability at most 1 %."
    assert exact.note is None
