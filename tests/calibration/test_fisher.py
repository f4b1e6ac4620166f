"""Fisher's sum of log ranks: many small surprises add up."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from flowguard.calibration import Calibration, FalseAlarmRate
from flowguard.calibration.scores import Fisher
from tests.calibration.many_columns import parts_of, records


def test_by_hand_log_ranks_of_columns_and_the_surprise_of_what_is_discrete_add_up() -> None:
    density = np.column_stack([np.arange(100.0), -2 * np.arange(100.0)])
    reference = parts_of(np.zeros((100, 2)), density, np.full(100, "11"))
    score = Fisher.fit(reference)
    rows = parts_of(np.log([[0.5, 1.0], [0.5, 0.2]]), np.array([[9.0, -180.0], [0.0, 0.0]]), ["11", "10"])
    assert score.score(rows) == pytest.approx([-np.log(0.5 * 10 / 101 * 10 / 101), -np.log(0.1 / 101)])


def test_of_independent_ranks_it_is_half_of_fishers_statistic() -> None:
    terms = np.log(np.random.default_rng(0).random((4000, 3)))
    parts = parts_of(np.zeros((4000, 3)), terms, np.full(4000, "111"))
    fresh = np.log(np.random.default_rng(1).random((500, 3)))
    found = Fisher.fit(parts).score(parts_of(np.zeros((500, 3)), fresh, np.full(500, "111")))
    expected = [stats.combine_pvalues(np.exp(row), method="fisher").statistic / 2 for row in fresh]
    # Of 4,000 records, a rank is known to a few in 4,000.
    assert np.abs(found - expected).max() < 0.6
    assert np.corrcoef(found, expected)[0, 1] > 0.999


def test_many_small_surprises_count_which_the_largest_does_not_see() -> None:
    random = np.random.default_rng(2)
    held = parts_of(np.zeros((3000, 20)), -random.exponential(1.0, (3000, 20)), np.full(3000, "1" * 20))
    odd = parts_of(np.zeros((200, 20)), -random.exponential(2.0, (200, 20)), np.full(200, "1" * 20))
    share = {}
    for name in ("fisher", "largest"):
        calibration = Calibration.fit(held, np.arange(3000), policy=FalseAlarmRate(0.01), score=name)  # type: ignore[arg-type]
        share[name] = calibration.decide(calibration.p_value(calibration.score(odd))).flag.mean()
    assert share["fisher"] > 0.7 > 0.4 > share["largest"], share


def test_a_missing_column_has_no_rank() -> None:
    parts, _ = records(1000, 0)
    nothing = parts_of(np.full((1, 4), -0.25), np.zeros((1, 4)), ["0002"])
    assert Fisher.fit(parts).score(nothing)[0] == 1.0
