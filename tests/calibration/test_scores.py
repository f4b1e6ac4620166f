"""The laws of every score: finite, strict where it counts, a record's own, valid, the same bits from disk."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.calibration import SCORES, Calibration, FalseAlarmRate, Parts, ScoreName
from flowguard.errors import CalibrationError
from flowguard.spec.pipeline import Pipeline
from tests.calibration.many_columns import changed, parts_of, records

BY_COLUMN = ("largest", "sum", "fisher", "higher_criticism")
OF_THE_WHOLE = ("log_likelihood", "mixed", "typicality")
WHOLE = "1112"
each_score = pytest.mark.parametrize("name", [*OF_THE_WHOLE, *BY_COLUMN])


def calibrated(name: str, n: int = 2000, seed: int = 0, days: int = 50) -> Calibration:
    parts, units = records(n, seed, days=days)
    return Calibration.fit(parts, units, policy=FalseAlarmRate(0.02), score=name)  # type: ignore[arg-type]


def ordinary() -> Parts:
    """One record, with nothing odd about it."""
    return parts_of(np.log([[1.0, 0.9, 0.6, 0.7]]), np.array([[-4.5, 13.0, -0.8, 0.0]]), [WHOLE])


def test_every_score_can_be_asked_for_by_name_wherever_one_is_named() -> None:
    assert get_args(ScoreName) == ("default", *SCORES)
    assert get_args(Pipeline.model_fields["score"].annotation) == get_args(ScoreName)
    assert all(score.name == name for name, score in SCORES.items())


@each_score
def test_absurd_is_strictly_stranger_than_odd(name: str) -> None:
    calibration = calibrated(name)
    for column in range(3):
        ladder = np.array([-30.0, -1e3, -1e4, -1e6, -1e9, -1e15, -1e50, -1e150, -1e299, -np.inf])
        scores = calibration.score(changed(ordinary(), column, ladder))
        assert np.isfinite(scores).all()
        assert (np.diff(scores) > 0).all()
        assert calibration.score(ordinary())[0] < scores[0]
        assert (calibration.p_value(scores[1:]) == calibration.smallest_level).all()


@each_score
def test_absurd_categories_and_absurdly_missing_values_are_strictly_stranger_than_odd_ones(name: str) -> None:
    calibration = calibrated(name)
    ladder = np.array([-20.0, -1e3, -1e6, -1e50, -1e299, -np.inf])
    for column in (0, 3):
        scores = calibration.score(changed(ordinary(), column, ladder, kind="mass"))
        assert np.isfinite(scores).all()
        assert (np.diff(scores) > 0).all()
        assert (calibration.p_value(scores[1:]) == calibration.smallest_level).all()


@each_score
def test_a_record_scores_the_same_bits_whoever_shares_its_batch_and_in_any_memory_order(name: str) -> None:
    calibration = calibrated(name)
    parts, _ = records(300, 4)
    scores = calibration.score(parts)
    for row in (0, 7, 299):
        assert calibration.score(parts.take([row]))[0] == scores[row]
    order = np.random.default_rng(0).permutation(300)
    assert np.array_equal(calibration.score(parts.take(order)), scores[order])
    assert parts.mass_terms is not None
    assert parts.density_terms is not None
    turned = replace(
        parts, mass_terms=np.asfortranarray(parts.mass_terms), density_terms=np.asfortranarray(parts.density_terms)
    )
    assert calibration.score(turned).tobytes() == scores.tobytes()


@each_score
def test_the_state_gives_back_the_same_bits(name: str) -> None:
    calibration = calibrated(name)
    state, arrays = calibration.to_state()
    again = Calibration.from_state(json.loads(json.dumps(state)), {name: part.copy() for name, part in arrays.items()})
    parts, _ = records(500, 9)
    assert again.method == name
    assert again.score(parts).tobytes() == calibration.score(parts).tobytes()
    assert again.threshold == calibration.threshold
    assert again.to_state()[0] == state


@each_score
@pytest.mark.parametrize("days", [1, 50], ids=["rows", "units"])
def test_p_values_are_valid_for_exchangeable_records(name: str, days: int) -> None:
    levels = np.array([0.01, 0.1, 0.5])
    rounds = 60
    hits = np.zeros((rounds, 3))
    for i in range(rounds):
        calibration = calibrated(name, 400, 2 * i, days)
        p_values = calibration.p_value(calibration.score(records(400, 2 * i + 1)[0]))
        hits[i] = (p_values[:, None] <= levels).mean(axis=0)
    # The rounds are independent; their spread holds the calibration's own error.
    assert (hits.mean(axis=0) <= levels + 3 * hits.std(axis=0) / math.sqrt(rounds)).all()
    # Rare patterns may make p-values careful, but not useless.
    assert (hits.mean(axis=0) >= 0.4 * levels).all()


@each_score
def test_it_is_fitted_on_the_reference_half_alone(name: str) -> None:
    """The records that give p-values may be anything: the fit does not see them."""
    from flowguard.calibration.halves import reference_half

    parts, units = records(2000, 0)
    half = reference_half(units.astype(str))
    other, _ = records(2000, 77)
    rows = np.where(half, np.arange(2000) + 2000, np.arange(2000))
    swapped = Parts.join([parts, other]).take(rows)
    first, second = (
        Calibration.fit(given, units, policy=FalseAlarmRate(0.02), score=name)  # type: ignore[arg-type]
        for given in (parts, swapped)
    )
    fresh, _ = records(200, 5)
    assert first.scorer.score(fresh).tobytes() == second.scorer.score(fresh).tobytes()


@each_score
@pytest.mark.parametrize("pattern", ["0002", "0012", "2222", "1122"])
def test_patterns_never_seen_have_a_finite_score_that_falls_with_what_has_a_probability(
    name: str, pattern: str
) -> None:
    parts, units = records(2000, 0)
    usual = np.isin(parts.pattern, ["1112", "1102"])
    calibration = Calibration.fit(parts.take(usual), units[usual], policy=FalseAlarmRate(0.02), score=name)  # type: ignore[arg-type]
    mass = np.full((4, 4), -0.1)
    mass[:, 0] = [-1.0, -8.0, -50.0, -np.inf]
    density = np.array([[3.0 if digit == "1" else 0.0 for digit in pattern]] * 4)
    scores = calibration.score(parts_of(mass, density, [pattern] * 4))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) > 0).all()
    assert calibration.p_value(scores[-1:])[0] == calibration.smallest_level


@each_score
def test_a_column_that_was_never_continuous_does_not_become_ordinary_by_its_unit(name: str) -> None:
    parts, units = records(2000, 0)
    calibration = Calibration.fit(parts, units, policy=FalseAlarmRate(0.02), score=name)  # type: ignore[arg-type]
    mass = np.log(np.array([[1.0, 0.9, 0.6, 1e-9]] * 3))
    dense = calibration.score(
        parts_of(mass, np.array([[-4.5, 13.0, -0.8, d] for d in (60.0, 0.0, -60.0)]), ["1111"] * 3)
    )
    if name in OF_THE_WHOLE:  # which know the column only as a part of the whole
        assert np.isfinite(dense).all()
        return
    usual = calibration.score(parts)
    assert (dense > np.quantile(usual, 0.99)).all()
    assert dense[0] <= dense[1] <= dense[2]


@pytest.mark.parametrize("name", BY_COLUMN)
def test_without_terms_by_column_the_remedy_is_named(name: str) -> None:
    parts, units = records(400, 0)
    without = replace(parts, density_terms=None)
    with pytest.raises(CalibrationError, match=rf"score: {name}.*no exact terms by column.*order: single"):
        Calibration.fit(without, units, policy=FalseAlarmRate(0.02), score=name)  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match="order: single"):
        calibrated(name, 400).score(without)


@pytest.mark.parametrize("name", OF_THE_WHOLE)
def test_other_scores_need_no_terms(name: str) -> None:
    parts, units = records(400, 0)
    without = replace(parts, density_terms=None, mass_terms=None)
    calibration = Calibration.fit(without, units, policy=FalseAlarmRate(0.02), score=name)  # type: ignore[arg-type]
    assert calibration.score(without).tobytes() == calibration.score(parts).tobytes()


# Logs of any size: log densities may be anything, log probabilities at most 0.
logs = st.floats(min_value=-1e300, max_value=1e300) | st.sampled_from([0.0, -1e300, 1e300, 5e-324, -math.inf])


@each_score
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_scores_stay_finite_fitted_on_anything(name: str, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 8))
    pattern = data.draw(st.lists(st.sampled_from(["11", "10", "01", "02", "22"]), min_size=n, max_size=n))
    rows = st.lists(st.tuples(logs, logs), min_size=n, max_size=n)
    mass = -np.abs(np.array(data.draw(rows)))
    density = np.array(data.draw(rows))
    # Far enough from the ends that the whole is a number: +inf is no log-likelihood.
    density = np.where(density > 1e299, 1e299, density)
    parts = parts_of(mass, density, pattern)
    scores = SCORES[name].fit(parts).score(parts)
    assert scores.shape == (n,)
    assert np.isfinite(scores).all()
