"""A fitted detector: exact, repeatable to the bit, and never silent about what it cannot score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flowguard.detector import Detector, load, save
from flowguard.errors import SchemaError
from flowguard.stages.score import detector_of
from flowguard.stages.workspace import Workspace
from tests.conftest import meters


@pytest.fixture(scope="module")
def detector(trained_project: Path) -> Detector:
    workspace = Workspace.open(trained_project / "pipelines" / "meters.yaml")
    return detector_of(workspace, workspace.registry.resolve("meters"))


def batch(rows: int = 700, seed: int = 5) -> pa.RecordBatch:
    return meters(rows, seed).combine_chunks().to_batches()[0]


def changed(**values: object) -> pa.RecordBatch:
    """One ordinary record with some values replaced."""
    record = {"id": 1, "site": "north", "hour": 6.0, "power": 10.0, "flow": 100.0} | values
    types = {"id": pa.int64(), "site": pa.string(), "hour": pa.float64(), "power": pa.float64(), "flow": pa.float64()}
    return pa.record_batch({name: pa.array([value], types[name]) for name, value in record.items()})


def numbers(detector: Detector, records: pa.RecordBatch) -> np.ndarray:
    scores = detector.score(records)
    return np.column_stack([scores.log_likelihood, scores.log_density, scores.log_mass, scores.score, scores.p_value])


def test_a_record_scores_the_same_bits_whoever_shares_its_batch(detector: Detector) -> None:
    records = batch()
    whole = numbers(detector, records)
    order = np.random.default_rng(1).permutation(len(records))
    assert np.array_equal(numbers(detector, records.take(pa.array(order))), whole[order])
    for start in (0, 255, 256, 699):
        assert np.array_equal(numbers(detector, records.slice(start, 1)), whole[start : start + 1])
    cut = [numbers(detector, records.slice(start, 97)) for start in range(0, 700, 97)]
    assert np.array_equal(np.concatenate(cut), whole)


def test_saving_and_loading_keeps_every_bit(detector: Detector, tmp_path: Path) -> None:
    digest = save(detector, tmp_path / "bundle")
    again = load(tmp_path / "bundle")
    assert digest == detector.digest == again.digest
    assert np.array_equal(numbers(again, batch()), numbers(detector, batch()))


def test_shares_and_baseline_add_up_to_the_surprise(detector: Detector) -> None:
    evaluation = detector.evaluate(detector.encode(batch()))
    assert evaluation.terms is not None
    assert detector.baseline is not None
    shares, rest = detector.baseline.shares(evaluation.terms, evaluation.pattern)
    assert np.abs(shares.sum(axis=1) + rest + evaluation.log_likelihood).max() < 1e-9


@pytest.mark.e2e
def test_the_density_integrates_to_one_in_the_users_units(detector: Detector) -> None:
    """Over power and flow, observed or missing, at one context."""
    assert detector.density.triangular
    power = np.linspace(-40, 60, 121)
    flow = np.linspace(-1500, 1700, 4001)
    grid = np.stack(np.meshgrid(power, flow, indexing="ij"), -1).reshape(-1, 2)

    def likelihood(p: np.ndarray | None, f: np.ndarray | None) -> np.ndarray:
        rows = len(p) if p is not None else len(f) if f is not None else 1
        none = pa.nulls(rows, pa.float64())
        records = pa.record_batch(
            {
                "site": pa.array(["south"] * rows),
                "hour": pa.array(np.full(rows, 9.0)),
                "power": none if p is None else pa.array(p),
                "flow": none if f is None else pa.array(f),
            }
        )
        evaluation = detector.evaluate(detector.encode(records))
        return np.exp(evaluation.log_likelihood)

    step = (power[1] - power[0], flow[1] - flow[0])
    both = likelihood(grid[:, 0], grid[:, 1]).sum() * step[0] * step[1]
    alone = likelihood(power, None).sum() * step[0] + likelihood(None, flow).sum() * step[1]
    neither = likelihood(None, None).sum()
    assert both + alone + neither == pytest.approx(1, abs=2e-3)  # what is left is the grid, not the density
    assert both > 0.8


@pytest.mark.parametrize("column", ["power", "flow"])
@pytest.mark.parametrize("value", [1e300, -1e300, 1e6])
def test_a_value_far_out_is_finite_and_as_strange_as_can_be(detector: Detector, column: str, value: float) -> None:
    scores = detector.score(changed(**{column: value}))
    assert np.isfinite(scores.score).all()
    assert np.isfinite(scores.log_likelihood).all()
    assert scores.p_value[0] == detector.calibration.smallest_level  # type: ignore[union-attr]
    assert detector.decide(scores)[0]


def test_farther_out_is_stranger_without_end(detector: Detector) -> None:
    scores = [detector.score(changed(power=value)).score[0] for value in (20.0, 1e2, 1e3, 1e6, 1e12, 1e300)]
    assert scores == sorted(scores)
    assert len(set(scores)) == len(scores)


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
@pytest.mark.parametrize("column", ["power", "flow", "hour"])
def test_an_infinite_value_is_refused_with_a_reason(detector: Detector, column: str, value: float) -> None:
    scores = detector.score(changed(**{column: value}))
    assert scores.refused[0] is not None
    assert column in scores.refused[0]
    assert not detector.decide(scores)[0]
    assert np.isnan(scores.score[0])
    assert np.isnan(scores.p_value[0])


@pytest.mark.parametrize(
    "values",
    [
        {"flow": None},
        {"flow": float("nan")},
        {"power": None},
        {"power": None, "flow": None},
        {"site": "never seen before"},
        {"site": None},
        {"hour": None},
        {"power": 5e-324},
    ],
    ids=str,
)
def test_missing_and_unseen_values_are_scored(detector: Detector, values: dict[str, object]) -> None:
    scores = detector.score(changed(**values))
    assert scores.refused == [None]
    assert np.isfinite(scores.score).all()
    assert 0 < scores.p_value[0] <= 1
    assert scores.log_likelihood[0] == scores.log_mass[0] + scores.log_density[0]


def test_a_null_and_a_nan_are_one(detector: Detector) -> None:
    assert np.array_equal(numbers(detector, changed(flow=None)), numbers(detector, changed(flow=float("nan"))))


def test_missing_where_it_never_was_is_stranger_than_missing_where_it_often_is(detector: Detector) -> None:
    never, often = detector.score(changed(power=None)), detector.score(changed(flow=None))
    assert never.log_mass[0] < often.log_mass[0] - 2
    assert never.p_value[0] < often.p_value[0]


def test_no_records_give_no_scores(detector: Detector) -> None:
    assert len(detector.score(batch().slice(0, 0))) == 0


def test_a_column_that_is_absent_or_of_another_type_is_named(detector: Detector) -> None:
    records = batch(5)
    with pytest.raises(SchemaError, match="flow"):
        detector.score(records.drop_columns(["flow"]))
    position = records.schema.get_field_index("power")
    with pytest.raises(SchemaError, match="power"):
        detector.score(records.set_column(position, "power", pa.array(["a"] * 5)))


def test_reasons_name_the_column_that_was_changed_with_its_range(detector: Detector) -> None:
    records = changed(flow=300.0)
    encoded = detector.encode(records)
    evaluation = detector.evaluate(encoded)
    ((first, *_),) = detector.reasons(records, encoded, evaluation, np.array([0]), record_ids=["a"], top=2)
    assert (first.column, first.rank, first.observed) == ("flow", 1, 300.0)
    assert first.low is not None
    assert first.high is not None
    assert 60 < first.low < 100 < first.high < 140


def test_a_pandas_table_is_scored_row_by_row(detector: Detector) -> None:
    frame = batch(50).to_pandas()
    scored = detector.score_frame(frame)
    assert np.array_equal(scored["score"], detector.score(batch(50)).score)
    assert scored["record_id"].is_unique
    integers = frame.assign(power=frame["power"].round().astype("int64"))
    assert np.isfinite(detector.score_frame(integers)["score"]).all()
    with pytest.raises(SchemaError, match="site"):
        detector.score_frame(frame.drop(columns="site"))
    assert isinstance(scored, pd.DataFrame)
