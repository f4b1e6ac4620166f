"""The score of several experts keeps the laws of every score (see `test_scores.py`), and hears each of them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.calibration import SCORES, Calibration, FalseAlarmRate, Parts
from flowguard.calibration.halves import reference_half
from flowguard.errors import CalibrationError
from tests.calibration.many_columns import changed, parts_of, records

# How much of each column's term each expert sees: they agree on what is far out and differ on the rest.
SEEN = np.array([[1.0, 1.0, 1.0, 1.0], [1.4, 0.3, 1.2, 0.8], [0.5, 1.5, 0.9, 1.1], [1.0, 1.0, 1.0, 1.0]])


def told(parts: Parts) -> Parts:
    """The same records as four experts see them; the last one has the columns by themselves."""
    mass, density = parts.mass_terms, parts.density_terms
    assert mass is not None
    assert density is not None
    return replace(
        parts,
        expert_mass=np.stack([(mass * seen).sum(axis=1) for seen in SEEN], axis=1),
        expert_density=np.stack([(density * seen).sum(axis=1) for seen in SEEN], axis=1),
        alone=mass + density,
        # Blurred, each column's surprise is felt, and none is more than the others'.
        blurred=(mass + density).sum(axis=1),
    )


def held_out(n: int = 2000, seed: int = 0, days: int = 50) -> tuple[Parts, np.ndarray]:
    parts, units = records(n, seed, days=days)
    return told(parts), units


def calibrated(n: int = 2000, seed: int = 0, days: int = 50) -> Calibration:
    return Calibration.fit(*held_out(n, seed, days), policy=FalseAlarmRate(0.02), score="experts")


def ordinary() -> Parts:
    """One record, with nothing odd about it."""
    return parts_of(np.log([[1.0, 0.9, 0.6, 0.7]]), np.array([[-4.5, 13.0, -0.8, 0.0]]), ["1112"])


def test_absurd_is_strictly_stranger_than_odd() -> None:
    calibration = calibrated()
    for column in range(3):
        ladder = np.array([-30.0, -1e3, -1e4, -1e6, -1e9, -1e15, -1e50, -1e150, -1e299, -np.inf])
        scores = calibration.score(told(changed(ordinary(), column, ladder)))
        assert np.isfinite(scores).all()
        assert (np.diff(scores) > 0).all()
        assert calibration.score(told(ordinary()))[0] < scores[0]
        assert (calibration.p_value(scores[1:]) == calibration.smallest_level).all()


def test_absurd_categories_and_absurdly_missing_values_are_strictly_stranger_than_odd_ones() -> None:
    calibration = calibrated()
    ladder = np.array([-20.0, -1e3, -1e6, -1e50, -1e299, -np.inf])
    for column in (0, 3):
        scores = calibration.score(told(changed(ordinary(), column, ladder, kind="mass")))
        assert np.isfinite(scores).all()
        assert (np.diff(scores) > 0).all()
        assert (calibration.p_value(scores[1:]) == calibration.smallest_level).all()


def test_everything_at_the_very_end_is_finite() -> None:
    calibration = calibrated()
    end = np.full((1, 4), -1e300)
    scores = calibration.score(told(parts_of(end, end, ["1112"])))
    assert np.isfinite(scores).all()
    assert calibration.p_value(scores)[0] == calibration.smallest_level


def test_a_record_scores_the_same_bits_whoever_shares_its_batch_and_in_any_memory_order() -> None:
    calibration = calibrated()
    parts, _ = held_out(300, 4)
    scores = calibration.score(parts)
    for row in (0, 7, 299):
        assert calibration.score(parts.take([row]))[0] == scores[row]
    order = np.random.default_rng(0).permutation(300)
    assert np.array_equal(calibration.score(parts.take(order)), scores[order])
    names = ("expert_mass", "expert_density", "alone", "blurred")
    turned = replace(parts, **{name: np.asfortranarray(getattr(parts, name)) for name in names})
    assert calibration.score(turned).tobytes() == scores.tobytes()
    joined = Parts.join([parts.take(np.arange(0, 111)), parts.take(np.arange(111, 300))])
    assert calibration.score(joined).tobytes() == scores.tobytes()


def test_the_state_gives_back_the_same_bits() -> None:
    calibration = calibrated()
    state, arrays = calibration.to_state()
    again = Calibration.from_state(json.loads(json.dumps(state)), {name: part.copy() for name, part in arrays.items()})
    parts, _ = held_out(500, 9)
    assert again.method == "experts"
    assert again.score(parts).tobytes() == calibration.score(parts).tobytes()
    assert again.threshold == calibration.threshold
    assert again.to_state()[0] == state


@pytest.mark.parametrize("days", [1, 50], ids=["rows", "units"])
def test_p_values_are_valid_for_exchangeable_records(days: int) -> None:
    levels = np.array([0.01, 0.1, 0.5])
    rounds = 60
    hits = np.zeros((rounds, 3))
    for i in range(rounds):
        calibration = calibrated(400, 2 * i, days)
        p_values = calibration.p_value(calibration.score(held_out(400, 2 * i + 1)[0]))
        hits[i] = (p_values[:, None] <= levels).mean(axis=0)
    # The rounds are independent; their spread holds the calibration's own error.
    assert (hits.mean(axis=0) <= levels + 3 * hits.std(axis=0) / math.sqrt(rounds)).all()
    assert (hits.mean(axis=0) >= 0.4 * levels).all()


def test_it_is_fitted_on_the_reference_half_alone() -> None:
    parts, units = held_out()
    half = reference_half(units.astype(str))
    rows = np.where(half, np.arange(2000) + 2000, np.arange(2000))
    swapped = Parts.join([parts, held_out(2000, 77)[0]]).take(rows)
    first, second = (
        Calibration.fit(given, units, policy=FalseAlarmRate(0.02), score="experts") for given in (parts, swapped)
    )
    fresh, _ = held_out(200, 5)
    assert first.scorer.score(fresh).tobytes() == second.scorer.score(fresh).tobytes()


@pytest.mark.parametrize("pattern", ["0002", "0012", "2222", "1122"])
def test_patterns_never_seen_have_a_finite_score_that_falls_with_what_has_a_probability(pattern: str) -> None:
    parts, units = held_out()
    usual = np.isin(parts.pattern, ["1112", "1102"])
    calibration = Calibration.fit(parts.take(usual), units[usual], policy=FalseAlarmRate(0.02), score="experts")
    mass = np.full((4, 4), -0.1)
    mass[:, 0] = [-1.0, -8.0, -50.0, -np.inf]
    density = np.array([[3.0 if digit == "1" else 0.0 for digit in pattern]] * 4)
    scores = calibration.score(told(parts_of(mass, density, [pattern] * 4)))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) > 0).all()
    assert calibration.p_value(scores[-1:])[0] == calibration.smallest_level


def test_units_do_not_matter_where_every_value_is_there() -> None:
    """Columns in other units shift every density by a constant."""
    parts, _ = records(2000, 0)
    parts = parts.take(parts.pattern == "1112")
    assert parts.mass_terms is not None
    assert parts.density_terms is not None
    # No ties, which rounding would break.
    density = parts.density_terms + np.random.default_rng(1).normal(0, 0.01, parts.density_terms.shape)
    here, there = (
        told(parts_of(parts.mass_terms, density + shift, parts.pattern))
        for shift in (0.0, np.array([np.log(1000.0), -20.0, 0.3, 0.0]))
    )
    found, shifted = SCORES["experts"].fit(here).score(here), SCORES["experts"].fit(there).score(there)
    assert np.allclose(found, shifted, atol=1e-9)


def test_what_a_single_expert_finds_is_heard_and_the_flow_and_the_columns_alone_count_half() -> None:
    rng = np.random.default_rng(0)
    n = 400
    same = np.sort(rng.normal(size=n))
    parts = Parts(
        np.zeros(n),
        same,
        np.full(n, "1"),
        expert_mass=np.zeros((n, 4)),
        expert_density=np.repeat(same[:, None], 4, axis=1),
        alone=same[:, None],
        blurred=same,
    )
    scorer = SCORES["experts"].fit(parts)
    middle = np.full((6, 4), same[n // 2])
    density = middle.copy()
    for expert in range(3):
        density[expert + 1, expert] = -6.0
    alone, blurred = np.full((6, 1), same[n // 2]), np.full(6, same[n // 2])
    alone[4], blurred[5] = -6.0, -6.0
    told_of = replace(
        parts.take(np.zeros(6, dtype=int)),
        expert_mass=np.zeros((6, 4)),
        expert_density=density,
        alone=alone,
        blurred=blurred,
    )
    usual, flow, line, front, columns, blurry = scorer.score(told_of)
    assert min(flow, line, front, columns, blurry) > usual
    assert line == front
    assert line - usual == pytest.approx(2 * (flow - usual))
    assert blurry - usual == pytest.approx(2 * (columns - usual))


def test_it_is_the_default_where_there_are_experts() -> None:
    parts, units = held_out()
    assert Calibration.fit(parts, units, policy=FalseAlarmRate(0.02)).method == "experts"
    without = replace(parts, expert_mass=None, expert_density=None, alone=None, blurred=None)
    assert Calibration.fit(without, units, policy=FalseAlarmRate(0.02)).method == "mixed"


def test_without_experts_the_remedy_is_named() -> None:
    parts, units = records(400, 0)
    with pytest.raises(CalibrationError, match=r"score: experts.*a single density.*Set `model\.kernel`"):
        Calibration.fit(parts, units, policy=FalseAlarmRate(0.02), score="experts")
    with pytest.raises(CalibrationError, match=r"Set `model\.kernel`"):
        calibrated(400).score(parts)


def test_it_needs_no_terms_by_column_of_the_flow() -> None:
    parts, units = held_out(400)
    without = replace(parts, density_terms=None, mass_terms=None)
    calibration = Calibration.fit(without, units, policy=FalseAlarmRate(0.02), score="experts")
    assert calibration.score(without).tobytes() == calibration.score(parts).tobytes()


def test_no_record_has_no_score() -> None:
    parts, _ = held_out(200)
    assert calibrated(400).score(parts.take(np.zeros(0, dtype=int))).shape == (0,)


# Logs of any size: log densities may be anything, log probabilities at most 0.
logs = st.floats(min_value=-1e299, max_value=1e299) | st.sampled_from([0.0, -1e300, 1e299, 5e-324, -math.inf])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_scores_stay_finite_fitted_on_anything(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 8))
    pattern = data.draw(st.lists(st.sampled_from(["11", "10", "01", "02", "22"]), min_size=n, max_size=n))
    three, two = (st.lists(st.tuples(*[logs] * k), min_size=n, max_size=n) for k in (3, 2))
    parts = Parts(
        np.zeros(n),
        np.zeros(n),
        np.array(pattern),
        expert_mass=-np.abs(np.array(data.draw(three))),
        expert_density=np.array(data.draw(three)),
        alone=np.array(data.draw(two)),
        blurred=np.array(data.draw(st.lists(logs, min_size=n, max_size=n))),
    )
    scores = SCORES["experts"].fit(parts).score(parts)
    assert scores.shape == (n,)
    assert np.isfinite(scores).all()
