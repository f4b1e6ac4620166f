from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from flowguard.calibration import FalseDiscoveryRate, PValues, p_value
from flowguard.errors import CalibrationError

Array = np.ndarray


def exactly(ranks: list[int], size: int, rate: Fraction) -> list[bool]:
    """Benjamini-Hochberg in fractions: p = rank / size."""
    m = len(ranks)
    ordered = sorted(ranks)
    r = max((k for k in range(1, m + 1) if Fraction(ordered[k - 1], size) <= rate * k / m), default=0)
    return [r > 0 and rank <= ordered[r - 1] for rank in ranks]


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_that_is_no_rate_is_refused(rate: float) -> None:
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        FalseDiscoveryRate(rate)


def test_by_hand() -> None:
    # 0.05 r / 5: 0.01, 0.02, 0.03, 0.04, 0.05. The third is above its own level and carried by the fourth.
    decision = FalseDiscoveryRate(0.05).decide([0.04, 0.01, 0.9, 0.02, 0.035], n_reference=999)
    assert decision.flag.tolist() == [True, True, False, True, True]
    assert decision.level == pytest.approx(0.04)
    assert decision.note is None
    assert "at most 5 %" in decision.guarantee


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=60),
    st.sampled_from(["0.01", "0.05", "0.1", "0.2", "0.25", "0.3", "0.5"]),
)
def test_flags_are_those_of_benjamini_and_hochberg_to_the_last_fraction(ranks: list[int], rate: str) -> None:
    # Ranks are fractions, and levels hit them exactly: floats alone would lose flags to rounding.
    decision = FalseDiscoveryRate(float(rate)).decide(np.array(ranks) / 200, n_reference=199)
    assert decision.flag.tolist() == exactly(ranks, 200, Fraction(rate))


@given(st.integers(0, 10_000), st.integers(1, 80), st.floats(0.01, 0.9))
def test_flags_are_those_of_scipy(seed: int, m: int, rate: float) -> None:
    # None below the smallest rank of so large a reference, or it would be taken for extrapolated.
    p = np.maximum(np.random.default_rng(seed).beta(0.3, 1.0, size=m), 1e-15)
    decision = FalseDiscoveryRate(rate).decide(p, n_reference=10**18)
    assert np.array_equal(decision.flag, false_discovery_control(p) <= rate)


@pytest.mark.parametrize("kind", ["smoothed", "cross", "weighted", "extrapolated"])
@pytest.mark.parametrize("pooled", [False, True])
def test_p_values_that_are_no_ranks_are_refused_with_a_way_out(kind: str, pooled: bool) -> None:
    with pytest.raises(CalibrationError) as caught:
        FalseDiscoveryRate(0.1, pooled=pooled).decide(PValues(np.array([0.5]), kind), n_reference=99)  # type: ignore[arg-type]
    assert kind in str(caught.value)
    assert "; " in str(caught.value)
    assert any(way in str(caught.value) for way in ("budget", "give the p-values"))


def test_a_reference_that_can_flag_nothing_says_so() -> None:
    with pytest.raises(CalibrationError, match="19"):
        FalseDiscoveryRate(0.05).check(18)
    FalseDiscoveryRate(0.05).check(19)
    decision = FalseDiscoveryRate(0.05).decide(np.full(10, 1 / 11), n_reference=10)
    assert decision.discoveries == 0
    assert decision.note is not None
    assert "Nothing can be flagged" in decision.note
    assert "At least 19 calibration records" in decision.note
    assert "199 for a record to be flagged on its own" in decision.note


def test_a_reference_that_takes_many_anomalies_at_once_says_how_many() -> None:
    # Levels 0.1 r / 100 reach 1 / 100 at r = 10.
    p = np.r_[np.full(9, 0.01), np.full(91, 0.5)]
    decision = FalseDiscoveryRate(0.1).decide(p, n_reference=99)
    assert decision.discoveries == 0
    assert decision.note is not None
    assert "at least 10 records" in decision.note
    assert "999 calibration records" in decision.note
    p[9] = 0.01
    assert FalseDiscoveryRate(0.1).decide(p, n_reference=99).discoveries == 10


def test_groups_too_small_do_not_count_as_able() -> None:
    # One record of two could reach 0.1 x 1 / 2, the other's smallest is 0.5.
    decision = FalseDiscoveryRate(0.1).decide([0.06, 0.5], n_reference=[19, 1])
    assert decision.note is None
    decision = FalseDiscoveryRate(0.1).decide([0.5, 0.5], n_reference=[8, 1])
    assert decision.note is not None
    assert "Nothing can be flagged" in decision.note


def simulated(*, n: int, m: int, odd: int, rate: float, runs: int, seed: int, cells: int = 1) -> tuple[Array, Array]:
    """False discovery proportion and power of each run: normal scores, anomalies moved by 4, one reference a run."""
    rng = np.random.default_rng(seed)
    policy = FalseDiscoveryRate(rate)
    label = np.arange(m) < odd
    cell = np.arange(m) % cells
    false, found = np.zeros(runs), np.zeros(runs)
    for run in range(runs):
        score = rng.normal(size=m) + 4 * label
        p = np.empty(m)
        for one in range(cells):
            p[cell == one] = p_value(np.sort(rng.normal(size=n)), score[cell == one])
        flag = policy.decide(p, n_reference=n).flag
        false[run] = (flag & ~label).sum() / max(1, flag.sum())
        found[run] = (flag & label).sum() / max(1, odd)
    return false, found


@pytest.mark.parametrize(("odd", "cells"), [(0, 1), (10, 1), (40, 1), (40, 4)])
def test_the_share_of_ordinary_records_among_the_flagged_holds_with_one_reference_for_all(odd: int, cells: int) -> None:
    false, found = simulated(n=1000, m=200, odd=odd, rate=0.2, runs=2000, seed=odd + cells, cells=cells)
    error = false.std() / np.sqrt(len(false))
    # (200 - odd) / 200 of the rate, on average, for continuous scores; never above the rate itself.
    assert false.mean() <= 0.2 + 3 * error
    assert false.mean() >= 0.2 * (200 - odd) / 200 - 0.03 - 3 * error
    if odd:
        assert found.mean() > 0.7
