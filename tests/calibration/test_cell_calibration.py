"""A calibration by cells: each cell's p-values are those of its own records, and the guarantee holds in each."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flowguard.calibration import Calibration, Cells, FalseAlarmRate, Parts, p_value
from flowguard.errors import CalibrationError

CELLS = Cells.fit(["carrier"], {("AA",): 900, ("UA",): 800, ("HA",): 30}, least=500)
SPREAD = {"AA": 1.0, "UA": 3.0, "HA": 9.0}


def records(n: int, seed: int) -> tuple[Parts, np.ndarray, np.ndarray]:
    """Records whose log density varies by carrier, their units, and their cells."""
    rng = np.random.default_rng(seed)
    carrier = rng.choice(list(SPREAD), n, p=[0.5, 0.35, 0.15])
    density = rng.normal(size=n) * np.array([SPREAD[name] for name in carrier])
    return Parts(np.zeros(n), density, np.full(n, "1")), np.arange(n), CELLS.of([carrier])


def calibrated(n: int = 2000, seed: int = 0, rate: float = 0.01) -> Calibration:
    parts, units, cell = records(n, seed)
    return Calibration.fit(parts, units, policy=FalseAlarmRate(rate), cells=CELLS, cell=cell)


def test_each_cell_is_ranked_among_its_own_records() -> None:
    parts, _, cell = records(2000, 0)
    calibration = calibrated()
    assert CELLS.names == ("carrier=AA", "carrier=UA, (other)")
    fresh, _, theirs = records(500, 1)
    scores = calibration.score(fresh)
    found = calibration.p_value(scores, theirs)
    for name in CELLS.names:
        own = np.sort(-parts.log_density[cell == name])
        mine = theirs == name
        assert np.array_equal(calibration.references[name], own)
        assert np.array_equal(found[mine], p_value(own, scores[mine]))
        flagged = calibration.decide(found[mine], cell=theirs[mine]).flag
        assert np.array_equal(flagged, scores[mine] > calibration.thresholds[name])
    assert calibration.threshold == min(calibration.thresholds.values())
    assert calibration.size == 2000


def test_the_rate_holds_in_every_cell_where_one_threshold_for_all_does_not() -> None:
    rates: dict[str, list[float]] = {name: [] for name in (*CELLS.names, "pooled")}
    for seed in range(60):
        calibration = calibrated(1000, 2 * seed, rate=0.05)
        parts, units, cell = records(1000, 2 * seed + 1)
        flags = calibration.decide(calibration.p_value(calibration.score(parts), cell), cell=cell).flag
        for name in CELLS.names:
            rates[name].append(flags[cell == name].mean())
        held, units, _ = records(1000, 2 * seed)
        pooled = Calibration.fit(held, units, policy=FalseAlarmRate(0.05))
        rates["pooled"].append(pooled.decide(pooled.p_value(pooled.score(parts))).flag[cell == "carrier=AA"].mean())
    for name in CELLS.names:
        mean, error = np.mean(rates[name]), np.std(rates[name]) / np.sqrt(60)
        assert mean <= 0.05 + 3 * error
        assert mean >= 0.03
    assert np.mean(rates["pooled"]) < 0.02, "one threshold for all flags the quiet carrier too seldom"


def test_asked_against_observed_is_there_for_every_cell() -> None:
    calibration = calibrated(4000, 0, rate=0.05)
    parts, units, cell = records(4000, 9)
    flags = calibration.decide(calibration.p_value(calibration.score(parts), cell), cell=cell).flag
    found = calibration.check_cells(flags, units, cell)
    assert set(found) == set(CELLS.names)
    assert all(check.within for check in found.values())
    assert sum(check.records for check in found.values()) == 4000
    whole = calibration.check_rate(flags, units)
    assert whole.within
    assert whole.records == 4000


def test_the_state_gives_back_the_same_bits() -> None:
    calibration = calibrated()
    state, arrays = calibration.to_state()
    again = Calibration.from_state(json.loads(json.dumps(state)), arrays)
    parts, _, cell = records(500, 5)
    scores = again.score(parts)
    assert again.p_value(scores, cell).tobytes() == calibration.p_value(scores, cell).tobytes()
    assert again.thresholds == calibration.thresholds
    assert again.to_state()[0] == state


def test_a_cell_that_cannot_support_the_rate_is_refused_by_name_with_the_size_it_needs() -> None:
    parts, units, cell = records(2000, 0)
    with pytest.raises(CalibrationError, match=r"needs 1,999 calibration records.*in the cell 'carrier=AA'"):
        Calibration.fit(parts, units, policy=FalseAlarmRate(0.0005), cells=CELLS, cell=cell)


def test_cells_that_are_not_given_or_unknown_are_errors() -> None:
    parts, units, cell = records(200, 0)
    calibration = calibrated()
    with pytest.raises(ValueError, match="2 cells, and the records' own were not given"):
        calibration.p_value(np.zeros(3))
    with pytest.raises(ValueError, match="no cell 'carrier=XX'"):
        calibration.p_value(np.zeros(1), np.array(["carrier=XX"]))
    with pytest.raises(ValueError, match="200 records but 2 cells"):
        Calibration.fit(parts, units, policy=FalseAlarmRate(0.1), cells=CELLS, cell=cell[:2])


def test_p_values_stay_valid_where_many_patterns_occur_once() -> None:
    """The density of a pattern of its own compares with nothing: such records rank among each other."""
    rounds, n = 300, 200
    hits = np.zeros(rounds)
    for i in range(rounds):
        rng = np.random.default_rng(i)
        rare = rng.random(2 * n) < 0.2
        pattern = np.where(rare, [f"{k:012b}" for k in rng.integers(1, 4096, 2 * n)], "0" * 11 + "1")
        parts = Parts(np.where(rare, -9.0, -0.2), rng.normal(size=2 * n), pattern)
        held, fresh = parts.take(np.arange(n)), parts.take(np.arange(n, 2 * n))
        calibration = Calibration.fit(held, np.arange(n), policy=FalseAlarmRate(0.05), score="log_likelihood")
        hits[i] = (calibration.p_value(calibration.score(fresh)) <= 0.05).mean()
    assert hits.mean() <= 0.05 + 3 * hits.std() / np.sqrt(rounds)
