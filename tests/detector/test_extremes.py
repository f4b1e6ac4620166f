"""No table is too odd: every family fits it, calibrates and scores in finite numbers, or says why it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from flowguard.calibration import FalseAlarmRate
from flowguard.detector import Columns, Detector, Engine, calibrate, fit, hold
from flowguard.encoding import FeatureSettings
from flowguard.errors import CalibrationError, InputError, TrainingError
from flowguard.training import TrainingSettings

FAMILIES: dict[str, dict[str, Any]] = {
    "maf spline": {"family": "maf", "layers": 2, "hidden": [8], "bins": 4},
    "maf mixture": {"family": "maf", "transformer": "mixture", "layers": 1, "hidden": [8], "components": 3},
    "maf orders": {"family": "maf", "layers": 1, "hidden": [8], "bins": 4, "orders": 2},
    "realnvp": {"family": "realnvp", "layers": 2, "hidden": [8]},
    "continuous": {"family": "continuous", "hidden": [8], "steps": 4},
    "gaussian": {"family": "gaussian"},
}
FRONTS = ("quantile", "standard", "robust")
each_family = pytest.mark.parametrize("family", list(FAMILIES))


def batch(columns: dict[str, Any]) -> pa.RecordBatch:
    return pa.record_batch([pa.array(values, pa.float64()) for values in columns.values()], names=list(columns))


def fitted(
    family: str,
    records: pa.RecordBatch,
    *,
    kind: str = "number",
    front: str = "quantile",
    contamination: float = 0.0,
    epochs: int = 2,
) -> Detector:
    settings = FeatureSettings(kind=kind, front=front)  # type: ignore[arg-type]
    names = records.schema.names
    detector, result = fit(
        lambda: [records],
        lambda: [records.slice(0, max(1, len(records) // 4))],
        columns=Columns(dict.fromkeys(names, settings), {}, dict.fromkeys(names, "double")),
        architecture=FAMILIES[family],
        settings=TrainingSettings(epochs=epochs, batch_size=64, contamination=contamination, weight_decay=1e-4),
        engine=Engine(tile=64),
        device=torch.device("cpu"),
        threads=1,
    )
    assert np.isfinite([epoch.validation_nll for epoch in result.history]).all()
    assert all(torch.isfinite(value).all() for value in detector.density.state_dict().values())
    return detector


def judged(detector: Detector, records: pa.RecordBatch, *, held: pa.RecordBatch | None = None) -> None:
    """Calibrated on `held` and scored: every record has numbers, or a reason why it has none."""
    held = records if held is None else held
    calibrated = calibrate(detector, hold(detector, [(held, np.arange(len(held)))]), policy=FalseAlarmRate(0.2))
    scores = calibrated.score(records)
    scored = np.array([reason is None for reason in scores.refused])
    for name in ("log_likelihood", "log_mass", "log_density", "score", "p_value"):
        assert np.isfinite(getattr(scores, name)[scored]).all(), name
    assert ((scores.p_value[scored] > 0) & (scores.p_value[scored] <= 1)).all()


def odd_columns(rows: int, seed: int) -> dict[str, Any]:
    """One of everything that a table should not hold, beside one that it should."""
    rng = np.random.default_rng(seed)
    plain = rng.normal(size=rows)
    one = np.full(rows, np.nan)
    one[0] = 3.0
    huge = plain.copy()
    huge[: max(1, rows // 20)] = 1e300
    return {
        "plain": plain,
        "constant": np.full(rows, 7.0),
        "copy": plain,
        "line": 2 * plain + 1,
        "sum": plain + 1e-12 * rng.normal(size=rows),
        "huge": huge,
        "all huge": plain * 1e300,
        "tiny": plain * 1e-300,
        "far": plain + 1e15,
        "cauchy": rng.standard_cauchy(rows) ** 3,
        "binary": (plain > 0).astype(float),
        "spike": np.where(rng.random(rows) < 0.95, 0.0, plain),
        "one value": one,
    }


@each_family
@pytest.mark.parametrize("front", FRONTS)
def test_odd_columns_side_by_side_stay_finite(family: str, front: str) -> None:
    records = batch({name: [None if np.isnan(v) else v for v in x] for name, x in odd_columns(120, 1).items()})
    judged(fitted(family, records, front=front, contamination=0.1), records)


@each_family
@pytest.mark.parametrize("name", list(odd_columns(3, 0)))
def test_each_odd_column_alone_stays_finite(family: str, name: str) -> None:
    values = [None if np.isnan(v) else v for v in odd_columns(60, 2)[name]]
    detector = fitted(family, batch({name: values}), epochs=1)
    judged(detector, batch({name: [*values, 0.0, 1e300, -1e300, 5e-324, None]}), held=batch({name: values}))


@each_family
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_one_record_can_be_learned_from_but_not_calibrated_on(family: str, kind: str) -> None:
    records = batch({"a": [1.0], "b": [2.5], "c": [None]})
    detector = fitted(family, records, kind=kind, contamination=0.3)
    others = batch({"a": [1.0, -1e300, None], "b": [2.5, 1e300, None], "c": [None, 4.0, None]})
    found = detector.evaluate(detector.encode(others))
    assert np.isfinite(found.log_likelihood).all()
    with pytest.raises(CalibrationError, match="needs 99 calibration records"):
        calibrate(detector, hold(detector, [(records, np.arange(1))]), policy=FalseAlarmRate(0.01))


@each_family
def test_nothing_but_missing_values_but_for_one_column(family: str) -> None:
    rng = np.random.default_rng(3)
    columns: dict[str, Any] = {f"x{i}": [None] * 80 for i in range(4)}
    records = batch({**columns, "there": rng.normal(size=80)})
    judged(fitted(family, records), records)


@each_family
def test_all_missing_but_one_in_each_record(family: str) -> None:
    rng = np.random.default_rng(4)
    there = rng.integers(0, 5, 200)
    records = batch({f"x{i}": [rng.normal() if i == k else None for k in there] for i in range(5)})
    judged(fitted(family, records, contamination=0.05), records)


@each_family
def test_two_thousand_columns_of_thirty_records(family: str) -> None:
    rng = np.random.default_rng(5)
    records = batch({f"x{i}": rng.normal(size=30) for i in range(2000)})
    if family == "continuous":
        with pytest.raises(InputError, match="at most 64 columns"):
            fitted(family, records)
        return
    judged(fitted(family, records, epochs=1), records)


@each_family
@pytest.mark.parametrize("copies", [2, 300])
def test_the_same_record_again_and_again(family: str, copies: int) -> None:
    records = batch({"a": [1.5] * copies, "b": [-2.0] * copies, "c": [None] * copies})
    detector = fitted(family, records)
    assert np.isfinite(detector.evaluate(detector.encode(records)).log_likelihood).all()
    if copies > 50:
        judged(detector, records)


def no_records(records: pa.RecordBatch) -> pa.RecordBatch:
    return records.slice(0, 0)


def without_numbers(records: pa.RecordBatch) -> pa.RecordBatch:
    return batch({name: [np.inf] * len(records) for name in records.schema.names})


@pytest.mark.parametrize("change", [no_records, without_numbers], ids=lambda change: change.__name__)
@pytest.mark.parametrize("part", ["training", "validation"])
def test_nothing_to_learn_or_to_validate_on_is_said(
    change: Callable[[pa.RecordBatch], pa.RecordBatch], part: str
) -> None:
    records = batch({"a": np.random.default_rng(6).normal(size=50)})
    parts = {"training": records, "validation": records} | {part: change(records)}
    with pytest.raises((TrainingError, InputError), match=r"No record is left|no records|no feature is left"):
        fit(
            lambda: [parts["training"]],
            lambda: [parts["validation"]],
            columns=Columns({"a": FeatureSettings()}, {}, {"a": "double"}),
            architecture=FAMILIES["gaussian"],
            settings=TrainingSettings(epochs=1),
            engine=Engine(tile=64),
            device=torch.device("cpu"),
            threads=1,
        )
