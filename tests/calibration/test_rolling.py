from __future__ import annotations

import json

import numpy as np
import pytest

from flowguard.calibration import (
    Aging,
    Calibration,
    Cells,
    FalseAlarmRate,
    FalseDiscoveryRate,
    Parts,
    Recent,
    rolled,
    weighted_p_value,
)
from flowguard.errors import CalibrationError


def held_out(n: int, seed: int = 0) -> Parts:
    return Parts(np.zeros(n), np.random.default_rng(seed).normal(size=n), np.full(n, "1"))


def calibrated(aging: Aging, n: int = 500, rate: float = 0.02) -> Calibration:
    return Calibration.fit(
        held_out(n), np.arange(n), policy=FalseAlarmRate(rate), aging=aging, day=np.arange(n) // 50 + 100
    )


def recent(day: int, n: int, shift: float = 0.0, seed: int = 1) -> Recent:
    scores = np.random.default_rng(seed).normal(size=n) + shift
    return Recent(scores, np.full(n, "all"), np.full(n, day))


def test_p_values_are_those_of_the_weighted_rank() -> None:
    calibration, new = calibrated(Aging(half_life=10.0)), recent(120, 300)
    made = rolled(calibration, 121, new)
    assert calibration.days is not None
    scores = np.concatenate([calibration.scores, new.scores])
    weights = 0.5 ** ((121 - np.concatenate([calibration.days, new.day])) / 10)
    tried = np.linspace(-3, 4, 50)
    assert made.p_value(tried) == pytest.approx(weighted_p_value(scores, weights, tried).values, rel=1e-12)
    assert made.kind == "weighted"
    assert made.reference_sizes(None, 2) == pytest.approx(np.full(2, weights.sum()))
    decision = made.decide(made.p_value(tried))
    assert "of about 2 %" in decision.guarantee
    assert np.array_equal(decision.flag, tried > made.threshold)


def test_a_window_forgets_the_held_out_records_once_there_are_enough_recent_ones() -> None:
    made = rolled(calibrated(Aging(window=7)), 200, recent(199, 400, shift=2.0))
    assert made.size == 400
    assert set(made.days.tolist()) == {199}  # type: ignore[union-attr]


def test_until_then_the_held_out_records_count_in_full() -> None:
    made = rolled(calibrated(Aging(window=7)), 200, recent(199, 10, shift=2.0))
    assert made.size == 510
    assert made.weights is not None
    assert (made.weights == 1).all()


def test_a_season_is_followed_where_a_fixed_calibration_is_not() -> None:
    random = np.random.default_rng(3)
    calibration = calibrated(Aging(window=5), n=1000, rate=0.05)
    fixed, rolling, past = [], [], recent(0, 0)
    for day in range(121, 161):
        scores = random.normal(size=200) + (day - 120) * 0.05
        rolling.append((rolled(calibration, day, past).p_value(scores) <= 0.05).mean())
        fixed.append((calibration.p_value(scores) <= 0.05).mean())
        past = Recent(
            np.concatenate([past.scores, scores]), np.full(len(past.day) + 200, "all"), np.append(past.day, [day] * 200)
        )
    assert np.mean(rolling[-20:]) < 0.09
    assert np.mean(fixed[-20:]) > 0.3


def test_cells_roll_apart() -> None:
    n = 400
    site = np.where(np.arange(n) % 2 == 0, "a", "b")
    cells = Cells.fit(["site"], {("a",): 200, ("b",): 200}, least=50)
    cell = cells.of([site], n)
    calibration = Calibration.fit(
        held_out(n), np.arange(n), policy=FalseAlarmRate(0.05), cells=cells, cell=cell, aging=Aging(window=3),
        day=np.full(n, 10),
    )  # fmt: skip
    new = Recent(np.full(100, 50.0), np.full(100, cell[0]), np.full(100, 19))
    made = rolled(calibration, 20, new)
    assert made.sizes == (100, 200)
    assert made.p_value([40.0, 40.0], np.array([cell[0], cell[1]])) == pytest.approx([1.0, 1 / 201])
    assert made.thresholds[cell[0]] == 50.0


def test_what_is_sealed_is_the_aging_and_the_days_and_never_the_weights() -> None:
    calibration = calibrated(Aging(half_life=3.0, window=9))
    state, arrays = calibration.to_state()
    again = Calibration.from_state(json.loads(json.dumps(state)), arrays)
    assert again.aging == calibration.aging
    assert np.array_equal(again.days, calibration.days)  # type: ignore[arg-type]
    assert again.weights is None
    assert "aging" not in Calibration.fit(held_out(99), np.arange(99), policy=FalseAlarmRate(0.1)).to_state()[0]


def test_false_discovery_rates_are_refused_on_weighted_ranks_and_on_lots() -> None:
    calibration = Calibration.fit(
        held_out(200), np.arange(200), policy=FalseDiscoveryRate(0.1), aging=Aging(window=3), day=np.full(200, 1)
    )
    made = rolled(calibration, 2, recent(1, 200))
    with pytest.raises(CalibrationError, match="weighted"):
        made.decide(made.p_value([9.0]))
    by_lot = Calibration.fit(held_out(200), np.arange(200), policy=FalseDiscoveryRate(0.1), ties="random")
    with pytest.raises(CalibrationError, match="random"):
        by_lot.decide(by_lot.p_value([9.0], key=["a"]))


def test_errors_say_what_is_missing() -> None:
    with pytest.raises(ValueError, match="has none"):
        rolled(Calibration.fit(held_out(99), np.arange(99), policy=FalseAlarmRate(0.1)), 3, recent(2, 5))
    with pytest.raises(ValueError, match="every record has a day"):
        Calibration.fit(held_out(99), np.arange(99), policy=FalseAlarmRate(0.1), aging=Aging(window=3))


def test_ties_by_lot_reach_the_rate_exactly_where_conservative_ones_flag_nothing() -> None:
    random = np.random.default_rng(0)
    flagged = {"conservative": [], "random": []}  # type: dict[str, list[float]]
    for run in range(60):
        levels = -random.integers(0, 3, size=(2, 400)).astype(float)
        parts = Parts(np.zeros(400), levels[0], np.full(400, "1"))
        for ties in ("conservative", "random"):
            made = Calibration.fit(parts, np.arange(400), policy=FalseAlarmRate(0.1), ties=ties)  # type: ignore[arg-type]
            p_value = made.p_value(-levels[1], key=[f"{run} {row}" for row in range(400)])
            flagged[ties].append(float((p_value <= 0.1).mean()))
    assert np.mean(flagged["conservative"]) == 0
    error = np.std(flagged["random"]) / np.sqrt(60)
    assert abs(np.mean(flagged["random"]) - 0.1) < 4 * error


def test_a_lot_is_the_same_in_every_order_and_without_ids_ties_are_conservative() -> None:
    parts = Parts(np.zeros(99), np.repeat([0.0, -1.0, -2.0], 33), np.full(99, "1"))
    made = Calibration.fit(parts, np.arange(99), policy=FalseAlarmRate(0.1), ties="random")
    ids = [f"r{row}" for row in range(20)]
    one = made.p_value(np.full(20, 2.0), key=ids)
    other = made.p_value(np.full(20, 2.0), key=ids[::-1])[::-1]
    assert np.array_equal(one, other)
    assert len(set(one.tolist())) == 20
    assert (made.p_value(np.full(20, 2.0)) >= one).all()
