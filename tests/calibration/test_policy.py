"""The laws of every policy."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration import Budget, FalseAlarmRate, FalseDiscoveryRate, History, Policy, PValues, read_policy
from flowguard.errors import CalibrationError

FIRST = History(t=1, discoveries=0)
every = pytest.mark.parametrize(
    "policy",
    [
        FalseAlarmRate(0.1),
        FalseAlarmRate(0.1, extrapolate=True),
        FalseDiscoveryRate(0.2),
        FalseDiscoveryRate(0.5, pooled=True),
        FalseDiscoveryRate(0.5, pooled=True, horizon=None),
        Budget(3),
        Budget(3, extrapolate=True),
    ],
    ids=lambda policy: json.dumps(policy.to_dict()),
)
ranks = st.lists(st.integers(1, 100), min_size=1, max_size=40)


@every
def test_a_policy_survives_json(policy: Policy) -> None:
    assert read_policy(json.loads(json.dumps(policy.to_dict()))) == policy


def test_policies_as_a_pipeline_file_has_them() -> None:
    assert read_policy({"false_alarm_rate": 0.001}) == FalseAlarmRate(0.001)
    assert read_policy({"fdr": 0.05, "pooled": True}).afresh() == FalseDiscoveryRate(0.05, pooled=True)
    assert read_policy({"fdr": 0.05}) == FalseDiscoveryRate(0.05)
    assert read_policy({"budget": 50}) == Budget(50)
    assert read_policy({"false_alarm_rate": 1e-4, "extrapolate": True}) == FalseAlarmRate(1e-4, extrapolate=True)
    assert Budget(50).to_dict() == {"budget": 50}


def test_a_version_keeps_the_shares_of_the_budget_that_it_was_sealed_with() -> None:
    before = {"fdr": 0.05, "pooled": True}  # as it was sealed before there was a horizon
    sealed = read_policy(before)
    assert sealed == FalseDiscoveryRate(0.05, pooled=True, horizon=None)
    assert sealed.to_dict() == before
    new = sealed.afresh()
    assert new.to_dict() == {"fdr": 0.05, "pooled": True, "horizon": 1000}
    assert read_policy(new.to_dict()) == new
    # The store knows a version's sequence by these words.
    assert sealed.words == new.words
    assert FalseDiscoveryRate(0.05).afresh() == FalseDiscoveryRate(0.05)
    with pytest.raises(CalibrationError, match="without pooled"):
        FalseDiscoveryRate(0.05, horizon=None)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({}, "false_alarm_rate, fdr, budget"),
        ({"fdr": 0.1, "budget": 3}, "false_alarm_rate, fdr, budget"),
        ({"fdr": 0.1, "polled": True}, "polled"),
        ({"false_alarm_rate": 0.1, "pooled": True}, "pooled"),
        ({"pooled": True}, "the keys are pooled"),
        ({"fdr": "0.1"}, "'0.1'"),
        ({"fdr": True}, "True"),
        ({"fdr": 1}, "between 0 and 1"),
        ({"fdr": 0.1, "pooled": 1}, "true or false"),
        ({"fdr": 0.1, "pooled": True, "horizon": 0}, "1 or more"),
        ({"fdr": 0.1, "pooled": True, "horizon": 2.5}, "2.5"),
        ({"fdr": 0.1, "pooled": False, "horizon": 1000}, "horizon"),
        ({"fdr": 0.1, "horizon": 1000}, "horizon"),
        ({"budget": 0}, "1 or more"),
        ({"budget": 3, "extrapolate": 1}, "true or false"),
        ({"fdr": 0.1, "extrapolate": True}, "extrapolate"),
        ({"budget": 2.5}, "2.5"),
        ({"budget": True}, "True"),
        ({"false_alarm_rate": None}, "None"),
    ],
)
def test_what_is_no_policy_is_refused_by_its_key(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(CalibrationError) as caught:
        read_policy(given_)
    assert said in str(caught.value)


@every
def test_nan_is_never_passed_for_ordinary(policy: Policy) -> None:
    with pytest.raises(ValueError, match="NaN"):
        policy.decide([0.5, np.nan], n_reference=99, history=FIRST)


@every
def test_an_empty_batch_has_no_flags(policy: Policy) -> None:
    decision = policy.decide([], n_reference=99, history=FIRST)
    assert decision.flag.shape == (0,)
    assert decision.flag.dtype == bool
    assert (decision.level, decision.discoveries) == (0.0, 0)
    assert policy.decide([], n_reference=np.zeros(0), record_id=[], history=FIRST).discoveries == 0


@every
def test_lengths_that_differ_and_values_that_are_no_p_values_are_refused(policy: Policy) -> None:
    for p, n in (([0.5, 0.6], [99]), ([1.5], 99), ([-0.1], 99), ([[0.5]], 99), ([0.5], np.nan), ([0.5], -1)):
        with pytest.raises(ValueError):
            policy.decide(p, n_reference=n, history=FIRST)


@every
@given(places=ranks, seed=st.integers(0, 1000))
def test_flags_do_not_depend_on_the_order_of_the_rows(policy: Policy, places: list[int], seed: int) -> None:
    p, ids = np.array(places) / 100, np.arange(len(places))
    order = np.random.default_rng(seed).permutation(len(p))
    one = policy.decide(p, n_reference=99, record_id=ids, history=FIRST)
    other = policy.decide(p[order], n_reference=99, record_id=ids[order], history=FIRST)
    assert np.array_equal(one.flag[order], other.flag)
    assert (one.level, one.note, one.guarantee) == (other.level, other.note, other.guarantee)


@every
@given(places=ranks)
def test_what_is_stranger_than_a_flagged_record_is_flagged(policy: Policy, places: list[int]) -> None:
    p = np.array(places) / 100
    decision = policy.decide(p, n_reference=99, record_id=np.arange(len(p)), history=FIRST)
    flagged, passed = p[decision.flag], p[~decision.flag]
    if len(flagged) and len(passed):
        assert flagged.max() <= passed.min()
    assert (flagged <= decision.level).all()
    if not isinstance(policy, Budget):
        assert np.array_equal(decision.flag, p <= decision.level)


@every
def test_references_of_many_sizes_are_as_one_where_they_are_equal(policy: Policy) -> None:
    p, ids = np.array([0.01, 0.02, 0.5, 0.9]), list("abcd")
    one = policy.decide(p, n_reference=99, record_id=ids, history=FIRST)
    each = policy.decide(p, n_reference=np.full(4, 99), record_id=ids, history=FIRST)
    assert np.array_equal(one.flag, each.flag)
    assert (one.level, one.note) == (each.level, each.note)


def test_a_bare_array_below_the_smallest_level_is_taken_for_extrapolated() -> None:
    with pytest.raises(CalibrationError, match="extrapolated"):
        FalseDiscoveryRate(0.1).decide([0.005, 0.5], n_reference=99)
    with pytest.raises(CalibrationError, match="extrapolated"):
        FalseDiscoveryRate(0.1).decide([0.015, 0.015], n_reference=[99, 9])
    assert FalseDiscoveryRate(0.1).decide([0.01, 0.5], n_reference=99).discoveries == 1


def test_p_values_say_what_they_promise() -> None:
    values = np.array([0.2])
    assert PValues(values).bound(0.1) == 0.1
    assert PValues(values, "cross", factor=2.0, excess=0.01).bound(0.1) == pytest.approx(0.21)
    assert PValues(values, "cross", factor=2.0).bound(0.9) == 1.0
    assert PValues(values, "weighted").bound(0.1) is None
    assert PValues(values, "extrapolated").bound(0.1) is None
