"""Too many flags on the hold-out: told wrongly as rarely as was asked, by simulation of calibrations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import betabinom

from flowguard.calibration import smoothed_p_value, too_many


@pytest.mark.parametrize(("held", "reference", "asked"), [(400, 500, 0.05), (2000, 999, 0.01), (5000, 10_000, 0.002)])
def test_where_records_are_independent_it_is_the_beta_binomial_of_scipy(
    held: int, reference: int, asked: float
) -> None:
    k = math.floor(round(asked * (reference + 1), 9))
    law = betabinom(held, k, reference + 1 - k)
    for flagged in (0, k, int(law.isf(0.01)), int(law.isf(0.01)) + 1):
        flags, usual = np.arange(held) < flagged, np.arange(reference) < k
        found = too_many(flags, np.arange(held), usual, np.arange(reference), asked=asked, level=0.01)
        assert found.chance == pytest.approx(law.sf(flagged - 1), rel=1e-6)
        assert found.limit == pytest.approx((law.isf(0.01) + 1) / held)
        assert found.too_many == (law.sf(flagged - 1) <= 0.01)
        assert found.counted == held


@pytest.mark.parametrize("lots", [False, True], ids=["ties against the record", "ties by lot"])
def test_a_calibration_that_holds_is_failed_as_often_as_asked(lots: bool) -> None:
    """The randomness of the calibration is counted: a plain binomial test would fail some four times as many."""
    rng, asked, level, runs = np.random.default_rng(0), 0.0213, 0.02, 2500
    failed = naive = 0
    for _ in range(runs):
        reference, held = np.sort(rng.random(400)), rng.random(800)
        if lots:
            flags = smoothed_p_value(reference, held, rng.random(800)) <= asked
        else:
            flags = (1 + 400 - np.searchsorted(reference, held)) / 401 <= asked
        usual = np.arange(400) < 8
        found = too_many(flags, np.arange(800), usual, np.arange(400), asked=asked, level=level, lots=lots)
        failed += found.too_many
        naive += flags.sum() > 800 * asked + 2.05 * math.sqrt(800 * asked * (1 - asked))
    assert failed / runs <= level + 3 * math.sqrt(level / runs)
    assert failed / runs >= level / 4, "and it is a test: it does fail some"
    assert naive > 3 * failed


def test_days_of_records_that_are_alike_do_not_count_as_so_many() -> None:
    """Rates differ by day (a beta law); 40 days held out, 60 to calibrate by. Records as such would fail a third."""
    rng, level, runs = np.random.default_rng(1), 0.01, 500
    days, size = 40, 100
    failed = by_record = 0
    for _ in range(runs):
        shift = rng.normal(0, 0.7, days + 60).repeat(size)
        score = shift + rng.normal(size=(days + 60) * size)
        unit = np.arange(days + 60).repeat(size)
        held = unit < days
        reference = np.sort(score[~held])
        n = len(reference)
        flags = (1 + n - np.searchsorted(reference, score[held])) / (n + 1) <= 0.02
        usual = score[~held] > reference[-math.floor(0.02 * (n + 1))]
        found = too_many(flags, unit[held], usual, unit[~held], asked=0.02, level=level)
        failed += found.too_many
        by_record += too_many(flags, np.arange(held.sum()), usual, np.arange(n), asked=0.02, level=level).too_many
    assert failed / runs <= 2 * level
    assert by_record / runs > 5 * level


def test_a_rate_that_is_five_times_too_high_is_found() -> None:
    flags, usual = np.arange(2000) < 100, np.arange(999) < 10
    found = too_many(flags, np.arange(2000), usual, np.arange(999), asked=0.01, level=0.01)
    assert found.too_many
    assert found.conclusive
    assert found.chance < 1e-6


def test_what_says_nothing_is_known() -> None:
    """A handful of records, and records of one day alone, could show no rate."""
    usual, many = np.arange(999) < 10, np.arange(999)
    few = too_many(np.arange(20) < 2, np.arange(20), usual, many, asked=0.01, level=0.01)
    assert not few.conclusive
    one_day = too_many(np.arange(5000) < 500, np.zeros(5000), usual, many, asked=0.01, level=0.01)
    assert (one_day.counted, one_day.too_many, one_day.conclusive) == (1, False, False)


def test_below_the_smallest_level_the_tail_is_taken_at_its_word() -> None:
    usual, many = np.zeros(200, dtype=bool), np.arange(200)
    found = too_many(np.zeros(9000, dtype=bool), np.arange(9000), usual, many, asked=0.001, level=0.01)
    assert not found.too_many
    assert 0.001 < found.limit < 0.2
    assert too_many(np.arange(9000) < 2000, np.arange(9000), usual, many, asked=0.001, level=0.01).too_many


def test_without_a_record_there_is_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="at least one"):
        too_many([], [], [True], [1], asked=0.01, level=0.01)
