from __future__ import annotations

import json
import math

import numpy as np
import pytest

from flowguard.calibration import Calibration, FalseAlarmRate, Parts
from flowguard.calibration.halves import reference_half
from flowguard.errors import BundleError, CalibrationError

Records = tuple[Parts, np.ndarray]


def plain(n: int = 999, seed: int = 0) -> Records:
    random = np.random.default_rng(seed)
    return Parts(np.full(n, -0.01), random.normal(-5, 2, n), np.full(n, "11")), np.arange(n) // 40


def mixed(n: int = 4000, seed: int = 0, days: int = 40) -> Records:
    """Four patterns of different measure; some densities tied."""
    random = np.random.default_rng(seed)
    names, share = np.array(["11", "10", "01", "00"]), np.array([0.8, 0.15, 0.03, 0.02])
    which = random.choice(4, n, p=share)
    density = np.array([-8.0, 4.0, -2.0, 0.0])[which] + np.round(random.normal(size=n), 1) * (which < 3)
    return Parts(np.log(share)[which], density, names[which]), random.integers(0, days, n)


def test_plain_tables_are_scored_by_their_log_likelihood() -> None:
    parts, units = plain()
    calibration = Calibration.fit(parts, units, policy=FalseAlarmRate(0.001))
    assert calibration.method == "log_likelihood"
    assert (calibration.size, calibration.rows, calibration.units) == (999, 999, 25)
    assert calibration.smallest_level == 0.001
    assert calibration.counts == {"11": 999}
    assert np.array_equal(calibration.score(parts), -(parts.log_mass + parts.log_density))
    assert np.array_equal(calibration.scores, np.sort(calibration.score(parts)))
    assert calibration.threshold == calibration.scores[-1]


def test_mixed_tables_are_ranked_by_one_half_and_judged_by_the_other() -> None:
    parts, units = mixed()
    calibration = Calibration.fit(parts, units, policy=FalseAlarmRate(0.01), dates=["2013-01-01", "2013-02-09"])
    half = reference_half(units.astype(str))
    assert calibration.method == "mixed"
    assert calibration.size == half.sum()
    assert abs(calibration.size - 2000) < 200
    assert not set(units[half]) & set(units[~half])
    assert calibration.dates == ("2013-01-01", "2013-02-09")
    assert sum(calibration.counts.values()) == calibration.rows == 4000
    assert calibration.units == 40
    scores = calibration.score(parts.take(half))
    assert np.array_equal(np.sort(scores), calibration.scores)
    assert (np.diff(calibration.scores) >= 0).all()
    assert len(calibration.score_units) == calibration.size


def test_the_fit_does_not_depend_on_the_order_of_the_rows() -> None:
    parts, units = mixed()
    order = np.random.default_rng(1).permutation(4000)
    first = Calibration.fit(parts, units, policy=FalseAlarmRate(0.01))
    second = Calibration.fit(parts.take(order), units[order], policy=FalseAlarmRate(0.01))
    assert np.allclose(first.scores, second.scores, rtol=0, atol=1e-9)
    assert np.array_equal(first.score_units, second.score_units)


def test_a_single_unit_is_split_by_rows() -> None:
    parts, _ = mixed()
    calibration = Calibration.fit(parts, np.zeros(4000), policy=FalseAlarmRate(0.01))
    assert calibration.size == 2000
    assert calibration.units == 1


@pytest.mark.parametrize("days", [1, 40], ids=["rows", "units"])
def test_p_values_are_valid_for_exchangeable_records_with_ties_and_patterns(days: int) -> None:
    levels = np.array([0.01, 0.1, 0.5])
    rounds, fresh = 150, 400
    hits = np.zeros((rounds, len(levels)))
    for i in range(rounds):
        calibration = Calibration.fit(*mixed(n=600, seed=2 * i, days=days), policy=FalseAlarmRate(0.01))
        p_values = calibration.p_value(calibration.score(mixed(n=fresh, seed=2 * i + 1)[0]))
        hits[i] = (p_values[:, None] <= levels).mean(axis=0)
    # The rounds are independent; their spread holds the calibration's own error.
    assert (hits.mean(axis=0) <= levels + 3 * hits.std(axis=0) / math.sqrt(rounds)).all()
    assert (hits.mean(axis=0) >= 0.5 * levels).all()


def test_plain_p_values_are_valid() -> None:
    levels = np.array([0.01, 0.1, 0.5])
    hits = []
    for i in range(200):
        calibration = Calibration.fit(*plain(n=199, seed=2 * i), policy=FalseAlarmRate(0.01))
        p_values = calibration.p_value(calibration.score(plain(n=200, seed=2 * i + 1)[0]))
        hits.append((p_values[:, None] <= levels).mean(axis=0))
    error = np.std(hits, axis=0) / math.sqrt(200)
    assert (np.mean(hits, axis=0) <= levels + 3 * error).all()


def test_score_falls_strictly_with_density_within_every_pattern_and_extremes_never_tie() -> None:
    calibration = Calibration.fit(*mixed(), policy=FalseAlarmRate(0.01))
    density = np.array([-1e9, -1e6, -1e4, -100.0, -50.0, -8.3, -8.0, -2.0])
    for name in ("11", "10", "01"):
        scores = calibration.score(Parts(np.full(8, -1.0), density, np.full(8, name)))
        assert (np.diff(scores) < 0).all()
    assert (np.diff(calibration.score(Parts([-9.0, -5.0, 0.0], np.zeros(3), ["00"] * 3))) < 0).all()


def test_odd_values_among_many_zeros_are_not_the_most_ordinary() -> None:
    # 99 % zeros, an atom ("0"), and 1 % tiny numbers whose density is huge in their own unit ("1").
    random = np.random.default_rng(3)
    n = 40_000
    tiny = random.random(n) < 0.01
    mass = np.where(tiny, math.log(0.01), math.log(0.99))
    density = np.where(tiny, 30.0 + random.normal(size=n), 0.0)
    pattern = np.where(tiny, "1", "0")
    assert (-(mass + density))[tiny].max() < (-(mass + density))[~tiny].min()  # what a plain score would say
    parts = Parts(mass, density, pattern)
    calibration = Calibration.fit(parts, np.arange(n) % 100, policy=FalseAlarmRate(0.001))
    score = calibration.score(parts)
    assert score[tiny].min() > score[~tiny].max()
    assert calibration.p_value(score[tiny]).max() < 0.02
    assert (calibration.p_value(score[~tiny]) == 1).all()


def test_a_pattern_never_seen_is_strange() -> None:
    calibration = Calibration.fit(*plain(), policy=FalseAlarmRate(0.001))
    # Its density may be large in its own units: that must not make it ordinary.
    score = calibration.score(Parts([-7.0, -9.0, -7.0], [50.0, 50.0, -1e6], ["10", "10", "01"]))
    assert (calibration.p_value(score) == calibration.smallest_level).all()
    assert score[0] < score[1] < score[2]
    assert calibration.decide(calibration.p_value(score)).flag.all()
    parts, units = mixed()
    usual = np.isin(parts.pattern, ["11", "10"])
    two = Calibration.fit(parts.take(usual), units[usual], policy=FalseAlarmRate(0.01))
    assert two.score(Parts([-30.0], [50.0], ["01"]))[0] >= 30.0


def test_a_log_likelihood_of_minus_infinity_is_never_ordinary() -> None:
    for records in (plain(), mixed()):
        calibration = Calibration.fit(*records, policy=FalseAlarmRate(0.01))
        score = calibration.score(Parts([0.0, -np.inf], [-np.inf, 0.0], ["11", "11"]))
        assert np.isfinite(score).all()
        assert calibration.decide(calibration.p_value(score)).flag.all()
        with pytest.raises(ValueError, match="NaN"):
            calibration.p_value([np.nan])


def test_a_rate_that_the_records_cannot_support_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"999.*there are 998"):
        Calibration.fit(*plain(998), policy=FalseAlarmRate(0.001))
    with pytest.raises(CalibrationError, match=r"99,999.*of 4,000 records held out"):
        Calibration.fit(*mixed(), policy=FalseAlarmRate(0.00001))
    with pytest.raises(CalibrationError):
        Calibration.fit(Parts([], [], []), [], policy=FalseAlarmRate(0.1))


def test_units_that_are_not_one_a_record_are_refused() -> None:
    with pytest.raises(ValueError, match="units"):
        Calibration.fit(Parts([0.0], [0.0], ["1"]), [0, 1], policy=FalseAlarmRate(0.5))


def test_a_score_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(CalibrationError, match="no score 'least'; expected `default` or one of log_likelihood, mixed"):
        Calibration.fit(*plain(), policy=FalseAlarmRate(0.01), score="least")  # type: ignore[arg-type]
    state, arrays = Calibration.fit(*plain(), policy=FalseAlarmRate(0.01)).to_state()
    with pytest.raises(BundleError, match="score 'least'"):
        Calibration.from_state({**state, "score": "least"}, arrays)


@pytest.mark.parametrize("records", [plain(), mixed(), mixed(days=1)], ids=["plain", "mixed", "one unit"])
def test_the_state_gives_back_the_same_bits(records: Records) -> None:
    calibration = Calibration.fit(*records, policy=FalseAlarmRate(0.01), dates=["2013-01-01", "2013-04-30"])
    state, arrays = calibration.to_state()
    again = Calibration.from_state(json.loads(json.dumps(state)), {name: part.copy() for name, part in arrays.items()})
    scores = calibration.score(records[0])
    assert again.score(records[0]).tobytes() == scores.tobytes()
    assert again.p_value(scores).tobytes() == calibration.p_value(scores).tobytes()
    assert again.threshold == calibration.threshold
    assert again.to_state()[0] == state
    assert (again.dates, again.counts, again.units) == (calibration.dates, calibration.counts, calibration.units)
    with pytest.raises(BundleError, match="layout"):
        Calibration.from_state({**state, "version": 1}, arrays)


def test_the_rate_is_checked_against_the_calibrations_own_days() -> None:
    records = mixed(n=20_000, days=60)
    calibration = Calibration.fit(*records, policy=FalseAlarmRate(0.02))
    fresh = mixed(n=8000, seed=9, days=30)
    flags = calibration.decide(calibration.p_value(calibration.score(fresh[0]))).flag
    check = calibration.check_rate(flags, fresh[1])
    assert check.within
    assert check.units == 30
    assert check.standard_error >= math.sqrt(0.02 * 0.98 * (1 / calibration.size + 1 / 8000)) - 1e-12
    assert not calibration.check_rate(np.ones(8000, dtype=bool), fresh[1]).within
