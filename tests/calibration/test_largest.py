"""The score of the largest surprise: no absurd column drowns in the noise of the others."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from flowguard.calibration import Calibration, FalseAlarmRate, Parts
from flowguard.calibration.halves import reference_half
from flowguard.errors import CalibrationError

Records = tuple[Parts, np.ndarray]
CHANCES = (1.0, 0.9, 0.7)  # of each column being observed


def records(n: int = 2000, seed: int = 0, days: int = 50) -> Records:
    """Three columns in units of their own, two of them missing now and then; many densities are tied."""
    random = np.random.default_rng(seed)
    seen = random.random((n, 3)) < CHANCES
    terms = np.round(-random.exponential([1.0, 2.0, 0.5], (n, 3)) + [-3.0, 6.0, 0.0], 1) * seen
    mass = np.log(np.where(seen, CHANCES, np.subtract(1.0, CHANCES) + (np.array(CHANCES) == 1))).sum(axis=1)
    pattern = np.array(["".join("01"[int(digit)] for digit in row) for row in seen])
    return Parts(mass, terms.sum(axis=1), pattern, density_terms=terms), random.integers(0, days, n)


def fit(given: Records, rate: float = 0.01) -> Calibration:
    return Calibration.fit(*given, policy=FalseAlarmRate(rate), score="largest")


def rows_of(terms: np.ndarray, mass: float, pattern: str = "111") -> Parts:
    n = len(terms)
    return Parts(np.full(n, mass), terms.sum(axis=1), np.full(n, pattern), density_terms=terms)


def test_by_hand_the_score_is_the_largest_of_mass_and_column_ranks() -> None:
    """Two columns, nothing missing; one half of the records has log densities 0..99 and 0, -2 .. -198."""
    n = 200
    units = np.zeros(n)  # one unit: split by place
    ranks = ~reference_half(units.astype(str))
    terms = np.zeros((n, 2))
    terms[ranks] = np.column_stack([np.arange(100.0), -2 * np.arange(100.0)])
    calibration = fit((rows_of(terms, -0.5, "11"), units), rate=0.05)
    assert (calibration.method, calibration.size) == ("largest", 100)

    def score(first: float, second: float, log_mass: float = -0.001) -> float:
        return float(calibration.score(rows_of(np.array([[first, second]]), log_mass, "11"))[0])

    # Of 100 reference records one has a first column of 0 or less, ten one of 9 or less.
    assert score(0.0, 0.0) == pytest.approx(-math.log(1 / 101))
    assert score(9.0, 0.0) == pytest.approx(-math.log(10 / 101))
    assert score(99.0, -180.0) == pytest.approx(-math.log(10 / 101))
    assert score(9.0, -198.0) == pytest.approx(-math.log(1 / 101))
    # Nothing is added up: the strangest column alone decides, or the mass.
    assert score(9.0, -180.0) == pytest.approx(-math.log(10 / 101))
    assert score(99.0, 0.0, log_mass=-7.0) == pytest.approx(7.0)


def test_one_absurd_column_counts_as_much_among_many_as_alone() -> None:
    calibration = fit(records())
    usual = np.array([[-3.5, 5.0, -0.3]])
    absurd = np.array([[-3.5, 5.0, -60.3]])
    others = np.array([[-4.5, 4.0, -60.3]])
    scores = [calibration.score(rows_of(row, -0.5))[0] for row in (usual, absurd, others)]
    assert scores[0] < calibration.threshold < scores[1]
    assert scores[1] == scores[2]


def test_a_missing_column_has_no_rank_and_a_lower_density_never_a_lower_score() -> None:
    calibration = fit(records())
    rows = np.column_stack([np.full(6, -3.2), np.zeros(6), np.array([0.0, -1.0, -5.0, -50.0, -1e6, -np.inf])])
    scores = calibration.score(rows_of(rows, -0.2, "101"))
    assert (np.diff(scores) >= 0).all()
    assert (np.diff(scores[2:]) > 0).all(), "extremes never tie"
    nothing = calibration.score(rows_of(np.zeros((1, 3)), -0.2, "000"))
    assert nothing[0] == pytest.approx(0.2)


@pytest.mark.parametrize("days", [1, 50], ids=["rows", "units"])
def test_its_p_values_are_valid_with_missing_columns_and_ties(days: int) -> None:
    levels = np.array([0.01, 0.1, 0.5])
    rounds = 120
    hits = np.zeros((rounds, 3))
    for i in range(rounds):
        calibration = fit(records(400, 2 * i, days))
        p_values = calibration.p_value(calibration.score(records(400, 2 * i + 1)[0]))
        hits[i] = (p_values[:, None] <= levels).mean(axis=0)
    error = hits.std(axis=0) / math.sqrt(rounds)
    assert (hits.mean(axis=0) <= levels + 3 * error).all()
    assert (hits.mean(axis=0) >= 0.5 * levels).all()


def test_the_state_gives_back_the_same_bits() -> None:
    given = records()
    calibration = fit(given)
    state, arrays = calibration.to_state()
    again = Calibration.from_state(json.loads(json.dumps(state)), {name: part.copy() for name, part in arrays.items()})
    parts, _ = records(500, 9)
    scores = calibration.score(parts)
    assert again.score(parts).tobytes() == scores.tobytes()
    assert again.p_value(scores).tobytes() == calibration.p_value(scores).tobytes()
    assert (again.method, again.threshold, again.counts) == ("largest", calibration.threshold, calibration.counts)


def test_without_terms_by_column_it_is_refused() -> None:
    parts, units = records()
    without = replace(parts, density_terms=None)
    with pytest.raises(CalibrationError, match="no exact terms by column"):
        fit((without, units))
    with pytest.raises(CalibrationError, match="order: single"):
        fit((parts, units)).score(without)


def test_a_score_that_is_asked_for_is_used_whatever_the_patterns() -> None:
    parts, units = records()
    assert Calibration.fit(parts, units, policy=FalseAlarmRate(0.01)).method == "mixed"
    plain = Calibration.fit(parts, units, policy=FalseAlarmRate(0.01), score="log_likelihood")
    assert (plain.method, plain.size) == ("log_likelihood", 2000)
    assert np.array_equal(plain.score(parts), -(parts.log_mass + parts.log_density))
    whole = parts.pattern == "111"
    only = (parts.take(whole), units[whole])
    assert Calibration.fit(*only, policy=FalseAlarmRate(0.01)).method == "log_likelihood"
    mixed = Calibration.fit(*only, policy=FalseAlarmRate(0.01), score="mixed")
    assert mixed.method == "mixed"
    assert mixed.size < whole.sum() <= 2 * mixed.size + 100


def test_too_few_records_in_the_half_that_gives_p_values_are_said() -> None:
    with pytest.raises(CalibrationError, match=r"needs 999 .*of 1,200 records held out"):
        fit(records(1200), rate=0.001)
