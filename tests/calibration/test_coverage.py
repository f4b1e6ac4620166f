from __future__ import annotations

import math

import numpy as np
import pytest

from flowguard.calibration import check_rate


def test_the_standard_error_by_hand() -> None:
    flags = np.array([1, 0, 0, 0, 0, 0], dtype=bool)
    units = np.array(["a", "a", "b", "b", "b", "c"])
    # r = 1/6; sums less r * size: 1 - 2/6, -3/6, -1/6
    part = 3 / 2 * ((2 / 3) ** 2 + 0.25 + (1 / 6) ** 2) / 36
    check = check_rate(flags, units, flags, units, 0.1)
    floor = 0.1 * 0.9 / 6
    assert part > floor
    assert check.standard_error == pytest.approx(math.sqrt(2 * part))
    assert check.observed == pytest.approx(1 / 6)
    assert (check.records, check.units, check.asked) == (6, 3, 0.1)
    assert check.within


def test_no_flags_at_all_still_has_the_binomial_error() -> None:
    none = np.zeros(1000, dtype=bool)
    check = check_rate(none, np.arange(1000) % 5, none, np.arange(1000) % 5, 0.001)
    assert check.standard_error == pytest.approx(math.sqrt(2 * 0.001 * 0.999 / 1000))
    assert check.within
    assert not check_rate(none, np.arange(1000), none, np.arange(1000), 0.1).within


def test_one_unit_has_the_binomial_error() -> None:
    flags = np.arange(100) < 10
    check = check_rate(flags, np.zeros(100), flags, np.zeros(100), 0.1)
    assert check.standard_error == pytest.approx(math.sqrt(2 * 0.09 / 100))


def test_nothing_to_check_is_refused() -> None:
    with pytest.raises(ValueError, match="held-out"):
        check_rate([], [], [True], [1], 0.1)
    with pytest.raises(ValueError, match="calibration"):
        check_rate([True], [1], [], [], 0.1)
    with pytest.raises(ValueError, match="units"):
        check_rate([True, False], [1], [True], [1], 0.1)


def simulated_days(random: np.random.Generator, days: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose level differs from day to day, days of unequal size."""
    sizes = random.integers(100, 500, days)
    units = np.repeat(np.arange(days), sizes)
    return random.normal(size=len(units)) + np.repeat(spread * random.normal(size=days), sizes), units


@pytest.mark.parametrize("spread", [0.0, 0.5], ids=["independent", "clustered"])
def test_the_standard_error_is_the_spread_of_the_observed_rate(spread: float) -> None:
    random = np.random.default_rng(7)
    asked, observed, errors, within = 0.05, [], [], []
    for _ in range(400):
        calibration, calibration_days = simulated_days(random, 60, spread)
        threshold = np.quantile(calibration, 1 - asked)
        fresh, fresh_days = simulated_days(random, 40, spread)
        check = check_rate(fresh > threshold, fresh_days, calibration > threshold, calibration_days, asked)
        observed.append(check.observed)
        errors.append(check.standard_error)
        within.append(check.within)
    actual = float(np.std(observed))
    assert np.mean(errors) == pytest.approx(actual, rel=0.15)
    assert np.mean(within) >= 0.97
    naive = math.sqrt(asked * (1 - asked) * (1 / 18_000 + 1 / 12_000))
    assert (actual > 3 * naive) == (spread > 0)
