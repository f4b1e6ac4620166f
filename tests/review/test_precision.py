"""Intervals hold what they promise, checked by adding up every outcome; batches count by their sizes."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, hypergeom

from flowguard.review import Share, Stratum, quality, share
from flowguard.store import ScoredBatch, Verdict

LEVEL = 0.8  # a low one, so that few records can violate it


def miscoverage(sizes: list[int], draws: list[int], anomalies: list[int], level: float) -> tuple[float, float]:
    """The probabilities that the interval lies below and above the truth, over every sample there could be."""
    truth = sum(anomalies) / sum(sizes)
    below = above = 0.0
    for found in itertools.product(*(range(count + 1) for count in draws)):
        chance = np.prod([hypergeom.pmf(k, n, a, d) for k, n, a, d in zip(found, sizes, anomalies, draws, strict=True)])
        if chance == 0:
            continue
        strata = [Stratum(n, d, k) for n, d, k in zip(sizes, draws, found, strict=True)]
        known = share(strata, confidence=level)
        assert known.low is not None
        assert known.high is not None
        below += float(chance) * (known.high < truth - 1e-9)
        above += float(chance) * (known.low > truth + 1e-9)
    return below, above


@st.composite
def populations(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    sizes = draw(st.lists(st.integers(1, 400), min_size=1, max_size=3))
    draws = [draw(st.integers(1, min(size, 5))) for size in sizes]
    anomalies = [draw(st.integers(0, size)) for size in sizes]
    return sizes, draws, anomalies


@pytest.mark.e2e
@settings(max_examples=80, deadline=None)
@given(populations())
def test_either_end_of_an_interval_misses_the_truth_no_more_often_than_promised(
    population: tuple[list[int], list[int], list[int]],
) -> None:
    sizes, draws, anomalies = population
    below, above = miscoverage(sizes, draws, anomalies, LEVEL)
    tail = (1 - LEVEL) / 2
    # For equal weights Hoeffding's comparison leaves out a corner, where the union bound holds.
    assert below <= -np.log1p(-tail)
    assert above <= -np.log1p(-tail)


def test_anomalies_that_hide_in_one_large_batch_are_within_the_interval() -> None:
    """An interval by an effective sample size (Kish) fails here: nothing is found, and it ends at 17 %."""
    sizes, draws = [500] + [5] * 100, 5
    zero = share([Stratum(size, min(draws, size), 0) for size in sizes])
    hidden = 0.4  # the large batch's share, so that all five are ordinary once in 13 times
    assert binom.pmf(0, draws, hidden) > 0.025
    assert zero.high is not None
    assert zero.high > hidden * 0.5


def test_coverage_holds_over_a_year_of_batches() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(200, 2000, 60)
    rates = np.where(rng.random(60) < 0.2, 0.15, 0.01)
    anomalies = rng.binomial(sizes, rates)
    truth = anomalies.sum() / sizes.sum()
    inside, estimates = 0, []
    for _ in range(100):
        found = rng.hypergeometric(anomalies, sizes - anomalies, 5)
        known = share([Stratum(int(size), 5, int(count)) for size, count in zip(sizes, found, strict=True)])
        assert known.estimate is not None
        assert known.low is not None
        assert known.high is not None
        inside += known.low <= truth <= known.high
        estimates.append(known.estimate)
    assert inside >= 0.95 * 100
    assert np.mean(estimates) == pytest.approx(truth, abs=3 * np.std(estimates) / np.sqrt(100)), "no bias"


def test_a_batch_counts_by_its_size_and_not_by_how_many_were_decided() -> None:
    known = share([Stratum(size=9000, decided=5, anomalies=0), Stratum(size=1000, decided=50, anomalies=50)])
    assert known.estimate == pytest.approx(0.1)
    assert (known.size, known.decided, known.anomalies, known.batches) == (10_000, 55, 50, 2)


@pytest.mark.parametrize(("found", "decided"), [(0, 30), (7, 30), (30, 30), (1, 1)])
def test_of_one_batch_it_is_what_scipy_gives(found: int, decided: int) -> None:
    exact = binomtest(found, decided).proportion_ci(0.95, "exact")
    known = share([Stratum(1000, decided, found)])
    assert (known.low, known.high) == (pytest.approx(exact.low), pytest.approx(exact.high))


def test_unequal_weights_cost_little() -> None:
    even = share([Stratum(1000, 5, place < 3) for place in range(60)])
    uneven = share([Stratum(1000 + place, 5, place < 3) for place in range(60)])
    none = share([Stratum(1000 + place, 5, 0) for place in range(60)])
    assert even.high is not None
    assert uneven.high is not None
    assert none.high is not None
    assert even.high < uneven.high < 1.25 * even.high
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 300), rel=0.05)


def test_batches_without_a_decision_are_left_out_and_unsure_is_counted() -> None:
    known = share([Stratum(100, 2, 1, unsure=3), Stratum(900, 0, 0, unsure=1)])
    assert (known.size, known.batches, known.decided, known.unsure) == (100, 1, 2, 4)
    nothing = share([Stratum(900, 0, 0, unsure=1)])
    assert nothing.bounds is None
    assert nothing == Share(None, None, None, 0, 0, 0, 0, 1)
    assert not nothing.enough


@pytest.mark.parametrize("stratum", [(1, 2, 0), (3, 2, 3), (3, 2, -1)])
def test_a_stratum_that_cannot_be_is_refused(stratum: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="anomalies <= decided <= size"):
        Stratum(*stratum)


# -- of a version ----------------------------------------------------------------------------------------------------


def batch(name: str, version: int = 1, scored: int = 100, flagged: int = 4) -> ScoredBatch:
    return ScoredBatch(
        "meters", name, version, "b", "f", scored, scored, flagged, 0, {}, datetime(2026, 3, 1, tzinfo=UTC)
    )


def entry(record_id: str, decision: Any, *, batch: str = "a", version: int = 1, **options: Any) -> Verdict:
    options = {"flagged": True, **options}
    return Verdict("meters", batch, record_id, version, decision, "", "ada", 1.0, 0.01, **options)


def test_flags_and_audited_records_are_estimated_apart() -> None:
    known = quality(
        1,
        {
            "1": [entry("1", "confirmed")],
            "2": [entry("2", "confirmed"), entry("2", "false_alarm")],
            "3": [entry("3", "unsure")],
            "4": [entry("4", "confirmed", flagged=False, audited=True)],
            "5": [entry("5", "false_alarm", flagged=False, audited=True)],
            "6": [entry("6", "confirmed", flagged=False)],
            "7": [entry("7", "confirmed"), entry("7", None)],
            "8": [entry("8", "confirmed", batch="unknown")],
        },
        [batch("a"), batch("b")],
    )
    assert (known.precision.anomalies, known.precision.decided, known.precision.unsure) == (1, 2, 1)
    assert known.precision.size == 4
    assert (known.missed.anomalies, known.missed.decided, known.missed.size) == (1, 2, 96)
    assert known.stray == 2


def test_a_verdict_is_on_the_record_whichever_version_it_was_given_on() -> None:
    history = {"1": [entry("1", "confirmed"), entry("1", "false_alarm", version=2, flagged=False, audited=True)]}
    batches = [batch("a"), batch("a", version=2, flagged=1)]
    first, second, third = (quality(version, history, batches) for version in (1, 2, 3))
    assert (first.precision.decided, first.precision.anomalies) == (1, 0), "decided otherwise since"
    assert (second.precision.decided, second.missed.decided) == (0, 1)
    assert third.precision.estimate is None
    assert third.stray == 0


def test_more_verdicts_than_a_batch_has_flags_by_now_are_all_counted() -> None:
    known = quality(1, {str(at): [entry(str(at), "confirmed")] for at in range(6)}, [batch("a", flagged=2)])
    assert (known.precision.decided, known.precision.size) == (6, 6)


def test_bounds_hold_whatever_was_not_decided() -> None:
    known = share([Stratum(50, 20, 20), Stratum(10, 10, 0), Stratum(999, 0, 0)])
    assert known.bounds == (20 / 60, 50 / 60)
    whole = share([Stratum(50, 50, 20)])
    assert whole.bounds == (0.4, 0.4)
