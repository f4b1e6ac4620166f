from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration import FalseDiscoveryRate, History, p_value, size_needed
from flowguard.calibration.policy import lond


def slowly(p: np.ndarray, rate: float, t: int, before: int) -> list[bool]:
    """The rule as it is written, one r after the other."""
    m, best = len(p), 0
    for r in range(1, m + 1):
        if (np.sort(p)[:r] <= rate * lond.share(t) * (before + r) / m).all():
            best = r
    return [bool(rank < best) for rank in np.argsort(np.argsort(p, kind="stable"), kind="stable")]


@pytest.mark.parametrize("horizon", [1, 7, 1000, None])
def test_the_shares_of_the_budget_sum_to_one(horizon: int | None) -> None:
    first = sum(lond.share(t, horizon=horizon) for t in range(1, 100_001))
    # The integral from there on: of t^-1.2, and of 1 / t - 1 / (t + h).
    past, h = 100_000.5, horizon or 0
    rest = past**-0.2 / 0.2 if horizon is None else np.log1p(h / past) * (1 + 1 / h)
    assert first + rest * lond.share(1, horizon=horizon) == pytest.approx(1, abs=1e-6)
    shares = [lond.share(t, horizon=horizon) for t in (1, 2, 10**6)]
    assert shares[0] > shares[1] > shares[2] > 0
    with pytest.raises(ValueError, match="from 1"):
        lond.share(0, horizon=horizon)


def test_shares_are_level_up_to_the_horizon_against_what_discoveries_grow_by() -> None:
    level = [t * lond.share(t, horizon=1000) for t in range(1, 1001)]
    assert 1 < level[0] / level[199] < 1.21
    assert level[0] / level[999] == pytest.approx(2, rel=0.01)


def test_a_sequence_without_a_horizon_has_the_shares_it_began_with() -> None:
    # Versions that were sealed before there was a horizon have stored decisions at these levels.
    assert [lond.share(t, horizon=None) for t in (1, 10, 200)] == pytest.approx(
        [0.178840, 0.0112841, 0.000309905], rel=1e-5
    )
    old = FalseDiscoveryRate(0.5, pooled=True, horizon=None)
    assert old.in_turn(np.full(3, 0.05), n_reference=999)(1, 0) == (3, pytest.approx(0.5 * 0.178840, rel=1e-5))
    assert old.in_turn(np.full(3, 0.05), n_reference=999)(2, 3) == (3, pytest.approx(0.178840 * 2**-1.2, rel=1e-5))


def test_by_hand() -> None:
    # 0.5 g_1 (0 + r) / 4 = 0.0167 r.
    slope = 0.5 * lond.share(1) / 4
    assert slope == pytest.approx(0.0167, abs=1e-4)
    p = np.array([0.9, 0.045, 0.04, 0.001])
    decision = lond.decide(p, 0.5, t=1, discoveries_before=0, n_reference=999)
    assert decision.flag.tolist() == [False, True, True, True]
    assert decision.level == pytest.approx(3 * slope)
    # Discoveries that came before raise the level: two of them to 5 x 0.0167 for the third.
    p[1] = 0.08
    assert lond.decide(p, 0.5, t=1, discoveries_before=0, n_reference=999).flag.tolist() == [False, False, False, True]
    later = lond.decide(p, 0.5, t=1, discoveries_before=2, n_reference=999)
    assert later.flag.tolist() == [False, True, True, True]


def test_a_step_carries_those_below_it_though_they_miss_their_own() -> None:
    assert lond.step_up(np.array([0.025, 0.028, 0.029]), 0.01) == (3, 0.03)
    assert lond.step_up(np.array([0.025, 0.028, 0.031]), 0.01) == (0, 0.0)
    assert lond.step_up(np.zeros(0), 0.01) == (0, 0.0)


@given(
    st.lists(st.floats(0.001, 1), min_size=1, max_size=30, unique=True),
    st.integers(1, 20),
    st.integers(0, 100),
    st.floats(0.05, 0.9),
)
def test_it_is_the_rule_as_it_is_written(p: list[float], t: int, before: int, rate: float) -> None:
    decision = lond.decide(np.array(p), rate, t=t, discoveries_before=before, n_reference=10**6)
    assert decision.flag.tolist() == slowly(np.array(p), rate, t, before)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.integers(1, 50), st.integers(0, 30))
def test_discoveries_do_not_grow_when_a_p_value_does(ranks: list[int], t: int, before: int) -> None:
    # What the proof rests on.
    p = np.array(ranks) / 1000
    found = lond.decide(p, 0.5, t=t, discoveries_before=before, n_reference=999).discoveries
    for place in range(len(p)):
        raised = p.copy()
        raised[place] = min(1.0, raised[place] + 0.2)
        assert lond.decide(raised, 0.5, t=t, discoveries_before=before, n_reference=999).discoveries <= found
    more = lond.decide(p, 0.5, t=t, discoveries_before=before + 1, n_reference=999).discoveries
    assert more >= found


def test_levels_below_the_smallest_p_value_flag_nothing_and_state_the_size() -> None:
    highest = 0.1 * lond.share(50)
    n = size_needed(highest)
    decision = lond.decide(np.full(20, 1 / n), 0.1, t=50, discoveries_before=0, n_reference=n - 1)
    assert not decision.flag.any()
    assert decision.level == 0.0
    assert decision.note is not None
    assert f"At least {n:,} calibration records" in decision.note
    assert f"{size_needed(highest / 20):,} for a record" in decision.note
    reached = lond.decide(np.full(20, 1 / (n + 1)), 0.1, t=50, discoveries_before=0, n_reference=n)
    assert reached.flag.all()
    assert reached.note is None


def test_the_policy_is_the_same_rule_with_its_history() -> None:
    policy = FalseDiscoveryRate(0.1, pooled=True)
    p = np.array([0.0001, 0.5, 0.9])
    one = policy.decide(p, n_reference=9999, history=History(t=3, discoveries=7))
    other = lond.decide(p, 0.1, t=3, discoveries_before=7, n_reference=9999)
    assert np.array_equal(one.flag, other.flag)
    assert (one.level, one.guarantee) == (other.level, other.guarantee)
    assert policy.in_turn(p, n_reference=9999)(3, 7) == (1, one.level)
    assert "since the first batch" in one.guarantee
    with pytest.raises(ValueError, match="history"):
        policy.decide(p, n_reference=9999)


def test_places_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError):
        History(t=0, discoveries=0)
    with pytest.raises(ValueError):
        lond.decide(np.array([0.5]), 0.1, t=1, discoveries_before=-1, n_reference=9)
    with pytest.raises(ValueError, match="NaN"):
        lond.decide(np.array([np.nan]), 0.1, t=1, discoveries_before=0, n_reference=9)


@pytest.mark.parametrize("odd", [0, 10])
def test_the_pooled_rate_holds_over_fifty_batches_that_share_one_reference(odd: int) -> None:
    rng = np.random.default_rng(odd)
    policy, n, m, batches, runs, rate = FalseDiscoveryRate(0.2, pooled=True), 4000, 100, 50, 150, 0.2
    label = np.arange(m) < odd
    shares, power = np.zeros(runs), np.zeros(runs)
    for run in range(runs):
        reference = np.sort(rng.normal(size=n))
        found = false = 0
        for t in range(1, batches + 1):
            p = p_value(reference, rng.normal(size=m) + 5 * label)
            flag = policy.decide(p, n_reference=n, history=History(t=t, discoveries=found)).flag
            found += int(flag.sum())
            false += int((flag & ~label).sum())
        shares[run] = false / max(1, found)
        power[run] = (found - false) / max(1, odd * batches)
    assert shares.mean() <= rate + 3 * shares.std() / np.sqrt(runs)
    if odd:
        assert power.mean() > 0.8
