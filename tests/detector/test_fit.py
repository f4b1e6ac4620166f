"""What fitting promises: exact densities in the table's units, the same bits from the same data, honest calibration."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from flowguard.calibration import FalseAlarmRate
from flowguard.detector import Detector, calibrate, check_hold_out, hold, load, save
from flowguard.encoding import ContextSettings, Encoder, FeatureSettings
from flowguard.errors import CalibrationError
from tests.detector.sample import SMALL, calibrated, fitted, table

SITE = {"site": ContextSettings("category")}


def with_column(records: pa.RecordBatch, name: str, values: object) -> pa.RecordBatch:
    return records.set_column(records.schema.get_field_index(name), name, pa.array(values))


@pytest.fixture(scope="module")
def detector() -> Detector:
    return calibrated(fitted(table(1200, 1)), table(900, 2))


def test_the_same_training_seals_to_the_same_digest(tmp_path: Path) -> None:
    digests = {
        save(calibrated(fitted(table(600, 1), epochs=2), table(400, 2), rate=0.05), tmp_path / name) for name in "ab"
    }
    assert len(digests) == 1
    other = save(calibrated(fitted(table(600, 1), epochs=1), table(400, 2), rate=0.05), tmp_path / "c")
    assert other not in digests


@pytest.mark.parametrize("front", ["standard", "robust", "quantile"])
@pytest.mark.parametrize("whole", [False, True], ids=["fractions", "whole numbers"])
def test_a_density_of_one_column_sums_to_one_with_the_chance_that_it_is_missing(front: str, whole: bool) -> None:
    """The integral over raw values at each of three contexts, one of them never seen, plus p(missing)."""
    records = table(1500, 3)
    if whole:
        records = with_column(records, "flow", [None if v is None else round(v) for v in records["flow"].to_pylist()])
    detector = fitted(records, features={"flow": front}, context=SITE)
    x = np.linspace(-25, 25, 20_001)
    raw = np.unique(detector.encoder.decode("flow", x))
    for site in ("north", None, "never seen"):
        grid = pa.record_batch({"flow": pa.array([*raw, None]), "site": pa.array([site] * (len(raw) + 1), pa.string())})
        found = detector.evaluate(detector.encode(grid))
        likelihood = np.exp(found.log_likelihood)
        observed = np.trapezoid(likelihood[:-1], raw)
        assert observed + likelihood[-1] == pytest.approx(1, abs=1e-3)
        assert 0.001 < likelihood[-1] < 0.5


def test_another_unit_shifts_the_likelihood_by_a_constant_and_no_p_value() -> None:
    """Hours for minutes: the same weights under the encoder fitted to the same data in another unit."""
    train, held, fresh = table(1500, 1), table(900, 2), table(500, 3)
    features = {"power": "standard", "flow": "robust"}
    minutes = fitted(train, features=features)

    def hours(records: pa.RecordBatch) -> pa.RecordBatch:
        return with_column(records, "power", records["power"].to_numpy() / 60)

    refitted = Encoder.fit(
        {name: FeatureSettings(front=front) for name, front in features.items()},  # type: ignore[arg-type]
        {"site": ContextSettings("category"), "hour": ContextSettings("cyclic", period=24)},
        [hours(train)],
        seed=3,
    )
    one, other = calibrated(minutes, held), calibrated(replace(minutes, encoder=refitted), hours(held))
    first, second = one.score(fresh), other.score(hours(fresh))
    assert np.abs(second.log_likelihood - first.log_likelihood - math.log(60)).max() < 1e-6
    assert one.calibration is not None
    assert np.abs(second.p_value - first.p_value).max() <= 2 / (one.calibration.size + 1)
    # Shares do not know of units at all.
    shares = []
    for detector, records in ((one, fresh), (other, hours(fresh))):
        found = detector.evaluate(detector.encode(records))
        assert detector.baseline is not None
        assert found.terms is not None
        shares.append(detector.baseline.shares(found.terms, found.pattern)[0])
    assert np.abs(shares[0] - shares[1]).max() < 1e-6


@pytest.mark.parametrize(
    "score", ["default", "log_likelihood", "mixed", "largest", "typicality", "sum", "fisher", "higher_criticism"]
)
def test_every_score_puts_an_absurd_value_among_the_strangest(detector: Detector, score: str) -> None:
    held = hold(detector, [(table(900, 2), np.arange(900))])
    again = calibrate(detector, held, policy=FalseAlarmRate(0.01), score=score)  # type: ignore[arg-type]
    records = table(3, 5)
    for column in ("power", "flow"):
        for value in (1e300, -1e300):
            scores = again.score(with_column(records, column, [value] * 3))
            assert (scores.p_value == again.calibration.smallest_level).all()  # type: ignore[union-attr]
            assert again.decide(scores).all()
            assert np.isfinite(scores.score).all()


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e12], ids=str)
def test_absurd_values_stay_finite_whatever_the_unit(scale: float) -> None:
    records = table(600, 1)
    records = with_column(records, "power", records["power"].to_numpy() * scale)
    detector = calibrated(fitted(records, epochs=1), records)
    scores = detector.score(with_column(table(4, 5), "power", [1e300, -1e300, 1.7e308, 5e-324]))
    assert scores.refused == [None] * 4
    assert np.isfinite(scores.score).all()
    assert (scores.p_value[:3] == detector.calibration.smallest_level).all()  # type: ignore[union-attr]


def test_reasons_of_whole_numbers_beyond_two_to_the_fifty_third_are_told(detector: Detector) -> None:
    """A feature may arrive as integers that no float64 holds exactly."""
    records = with_column(table(2, 5), "flow", pa.array([2**60 + 1, 3], pa.int64()))
    encoded = detector.encode(records)
    evaluation = detector.evaluate(encoded)
    ((first,),) = detector.reasons(records, encoded, evaluation, np.array([0]), record_ids=["a"], top=1)
    assert (first.column, first.observed) == ("flow", 2.0**60)


def test_records_that_cannot_be_scored_are_left_out_of_the_calibration(detector: Detector) -> None:
    records = table(900, 2)
    power = records["power"].to_pylist()
    power[:3] = [math.inf, -math.inf, 5.0]
    held = hold(detector, [(with_column(records, "power", power), np.arange(900))])
    assert (len(held), held.refused) == (898, 2)
    assert held.unit[0] == 2


def test_held_out_records_do_not_depend_on_how_they_were_cut(detector: Detector) -> None:
    records, units = table(900, 2), np.arange(900)
    whole = hold(detector, [(records, units)])
    cut = hold(detector, ((records.slice(at, 100), units[at : at + 100]) for at in range(0, 900, 100)))
    for name in ("log_mass", "log_density", "pattern", "mass_terms", "density_terms"):
        assert np.array_equal(getattr(whole.parts, name), getattr(cut.parts, name))
    assert np.array_equal(whole.terms, cut.terms)
    assert np.array_equal(whole.unit, cut.unit)


def test_nothing_to_calibrate_on_is_said(detector: Detector) -> None:
    with pytest.raises(CalibrationError, match="No record is left"):
        calibrate(detector, hold(detector, []), policy=FalseAlarmRate(0.1))
    with pytest.raises(CalibrationError, match="no calibration yet"):
        fitted(table(300, 1), epochs=1).score(table(3, 2))


def test_the_hold_out_keeps_the_rate_that_was_asked_for(detector: Detector) -> None:
    checked, cells = check_hold_out(detector, hold(detector, [(table(2000, 9), np.arange(2000))]))
    assert cells == {}
    assert checked.within
    assert checked.asked == 0.01
    assert checked.records == 2000


def test_the_level_of_noise_that_was_chosen_is_sealed_with_the_version(tmp_path: Path) -> None:
    """What is read at another level is another density, so a loaded version scores the same bits."""
    noisy = fitted(table(400, 1), architecture=SMALL | {"noise": 0.5, "dropout": 0.1}, epochs=4)
    assert noisy.density.noise is not None
    with torch.no_grad():
        noisy.density.noise.level.fill_(0.5 * 0.25)
    save(calibrated(noisy, table(400, 2), rate=0.05), tmp_path / "sealed")
    fresh = table(100, 3)
    expected = noisy.evaluate(noisy.encode(fresh)).log_likelihood
    again = load(tmp_path / "sealed")
    assert np.array_equal(again.evaluate(again.encode(fresh)).log_likelihood, expected)
    assert again.density.noise is not None
    again.density.noise.level.fill_(0.0)
    assert not np.array_equal(again.evaluate(again.encode(fresh)).log_likelihood, expected)
