"""Calibrations whose policy extrapolates: ranks as before, and a tail of its own in every cell below them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from flowguard.calibration import Budget, Calibration, Cells, FalseAlarmRate, Parts, Policy
from flowguard.errors import CalibrationError

BEYOND = FalseAlarmRate(1e-4, extrapolate=True)


def normal(n: int, seed: int) -> tuple[Parts, np.ndarray]:
    """Scores (minus the log density) are exponential."""
    drawn = np.random.default_rng(seed).exponential(size=n)
    return Parts(np.full(n, -0.01), -drawn, np.full(n, "11")), np.arange(n)


def fitted(n: int = 999, seed: int = 0, policy: Policy = BEYOND) -> Calibration:
    return Calibration.fit(*normal(n, seed), policy=policy)


def test_ranks_stay_what_they_are_and_only_what_lies_below_them_is_marked() -> None:
    plain, tail = fitted(policy=FalseAlarmRate(0.001)), fitted()
    scores = np.concatenate([plain.scores, plain.scores[-1] + np.array([1e-9, 1.0, 5.0, 500.0])])
    ranks, found = plain.p_values(scores), tail.p_values(scores)
    assert (plain.tails, ranks.kind, ranks.extrapolated) == ((), "split", None)
    assert found.kind == "extrapolated"
    assert found.extrapolated is not None
    assert np.array_equal(found.values[:-4], ranks.values[:-4])
    assert found.extrapolated.tolist() == [False] * 999 + [value < 0.001 for value in found.values[-4:]]
    assert found.extrapolated[-3:].all()
    assert (np.diff(found.values[-3:]) < 0).all()
    assert np.array_equal(tail.p_value(scores), found.values)
    with pytest.raises(ValueError, match="NaN"):
        tail.p_values([math.nan])


def test_flags_are_what_lies_above_the_threshold_to_the_last_bit() -> None:
    for seed in range(20):
        calibration = fitted(500, seed)
        threshold = calibration.threshold
        assert threshold > calibration.scores[-1]
        near = threshold + np.array([-1e-9, 0.0, 1e-9]) * abs(threshold)
        scores = np.array([near[0], threshold, np.nextafter(threshold, np.inf), near[2]])
        assert calibration.decide(calibration.p_value(scores)).flag.tolist() == [False, False, True, True]


def test_alarms_at_a_level_that_no_rank_reaches_come_about_as_often_as_asked() -> None:
    # P(score > threshold) of an exponential is known, so no record need be drawn.
    rates = [math.exp(-fitted(999, seed).threshold + 0.01) for seed in range(60)]
    assert 0.2e-4 < np.mean(rates) < 2.5e-4


def test_every_cell_has_a_tail_of_its_own() -> None:
    n = 1000
    parts, units = normal(n, 1)
    wide = np.arange(n) % 2 == 0
    parts = Parts(parts.log_mass, np.where(wide, 10, 1) * parts.log_density, parts.pattern)
    cell = np.where(wide, "site=a", "site=b")
    cells = Cells.fit(["site"], {("a",): 500, ("b",): 500}, least=300)
    calibration = Calibration.fit(parts, units, policy=BEYOND, cells=cells, cell=cell)
    assert [len(tail.reference) for tail in calibration.tails] == [500, 500]
    assert calibration.tails[0].scale > 5 * calibration.tails[1].scale
    found = calibration.p_values([50.0, 50.0], np.array(["site=a", "site=b"]))
    assert found.values[0] > 1e-3 > found.values[1]
    assert found.extrapolated is not None
    assert found.extrapolated.tolist() == [False, True]
    assert calibration.thresholds["site=a"] > 5 * calibration.thresholds["site=b"]


def test_cells_too_small_for_a_tail_or_all_of_ties_are_refused() -> None:
    with pytest.raises(CalibrationError, match=r"with extrapolate needs 200 .* there are 199"):
        fitted(199)
    cell = np.where(np.arange(500) < 350, "site=a", "site=b")
    cells = Cells.fit(["site"], {("a",): 350, ("b",): 150}, least=100)
    for policy in (BEYOND, Budget(5, extrapolate=True)):
        with pytest.raises(CalibrationError, match=r"needs 200 .* there are 150.* in the cell 'site=b'"):
            Calibration.fit(*normal(500, 0), policy=policy, cells=cells, cell=cell)
    ties = Parts(np.full(999, -0.01), -np.repeat([1.0, 2.0, 3.0], 333), np.full(999, "1"))
    with pytest.raises(CalibrationError, match=r"extrapolate: .*too few different values"):
        Calibration.fit(ties, np.arange(999), policy=BEYOND)


def test_the_state_gives_back_the_same_bits() -> None:
    calibration = fitted(policy=Budget(5, extrapolate=True))
    state, arrays = calibration.to_state()
    again = Calibration.from_state(json.loads(json.dumps(state)), arrays)
    scores = calibration.scores[-1] + np.linspace(-1, 50, 100)
    assert again.policy == calibration.policy
    assert again.p_value(scores).tobytes() == calibration.p_value(scores).tobytes()
    assert again.tails[0].to_dict() == calibration.tails[0].to_dict()
    assert again.to_state()[0] == state
    assert "goodness of fit" in calibration.tails[0].words
