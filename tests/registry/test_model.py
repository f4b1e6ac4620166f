from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flowguard.calibration import FalseAlarmRate
from flowguard.density import RecordDensity
from flowguard.detector import Detector, Engine, calibrate, hold, load, save
from flowguard.encoding import ContextSettings, Encoder, FeatureSettings
from flowguard.errors import FlowguardError
from flowguard.registry import Registry, Version, model

ROWS = 400


def records() -> pa.RecordBatch:
    """Every kind of column; all but the key and air_time with missing values."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "flight": np.arange(ROWS),
            "delay": rng.normal(10, 5, ROWS).round(),
            "air_time": rng.normal(100, 20, ROWS),
            "origin": rng.choice(["JFK", "LGA"], ROWS),
            "seats": rng.integers(50, 300, ROWS),
            "weekend": rng.random(ROWS) < 0.3,
            "left": pd.date_range("2013-01-01", periods=ROWS, freq="h", tz="UTC", unit="us"),
        }
    )
    batch = pa.RecordBatch.from_pandas(frame, preserve_index=False)
    arrays = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = column.to_pylist()
        if name not in ("flight", "air_time"):
            values[::17] = [None] * len(values[::17])
        arrays.append(pa.array(values, column.type))
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle; that its weights are untrained does not matter here."""
    batch = records()
    encoder = Encoder.fit(
        {name: FeatureSettings(front="standard") for name in ("delay", "air_time")},
        {
            "origin": ContextSettings("category"),
            "seats": ContextSettings("integer"),
            "weekend": ContextSettings("boolean"),
            "hour": ContextSettings("cyclic", column="left", period="day"),
        },
        [batch],
        seed=0,
    )
    density = RecordDensity.build(
        {
            "family": "maf",
            "layers": 1,
            "hidden": [8],
            "columns": encoder.density_columns(),
            "numeric": encoder.context_width,
            "cardinalities": list(encoder.cardinalities),
            "seed": 0,
        }
    )
    detector = Detector(
        encoder=encoder,
        density=density.double().eval(),
        columns={name: str(batch.schema.field(name).type) for name in batch.schema.names if name != "flight"},
        key=["flight"],
        engine=Engine(tile=64),
    )
    held = hold(detector, [(batch, np.arange(ROWS).astype(str))])
    folder = tmp_path_factory.mktemp("bundle") / "sealed"
    save(calibrate(detector, held, policy=FalseAlarmRate(0.05)), folder)
    return folder


@pytest.fixture(scope="module")
def version(registry: Registry, bundle: Path) -> Version:
    detector = load(bundle)
    return registry.log_version(
        bundle,
        name="scorer",
        inputs=dict(detector.input_schema()),
        key=detector.key,
        example=records().to_pandas().head(2),
    )


@pytest.fixture
def served(registry: Registry, version: Version, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a user types; no pickle may be read."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking_uri)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    return "models:/scorer@champion"


def stored(registry: Registry, version: Version) -> Path:
    uri = registry._client.get_model_version_download_uri(version.name, str(version.version))
    return Path(uri.removeprefix("file://").replace("%20", " "))


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        text = frame.to_json(orient="records", date_format="iso", double_precision=15)
        path.write_text(json.dumps({"dataframe_records": json.loads(text)}))
    return path


def agree(answer: Path, frame: pd.DataFrame, bundle: Path) -> None:
    text = answer.read_text()
    assert "NaN" not in text  # else it is no JSON
    scores = pd.DataFrame(json.loads(text)["predictions"])
    expected = load(bundle).score_frame(frame)
    assert scores["record_id"].tolist() == expected["record_id"].tolist()
    assert scores["flag"].tolist() == expected["flag"].tolist()
    np.testing.assert_allclose(scores["log_likelihood"], expected["log_likelihood"], rtol=1e-9)


def test_a_version_scores_as_plain_mlflow_model(served: str, bundle: Path) -> None:
    import mlflow.pyfunc

    frame = records().to_pandas()
    scores = mlflow.pyfunc.load_model(served).predict(frame)
    expected = load(bundle).score_frame(frame)
    assert list(scores.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(scores.drop(columns="refused"), expected.drop(columns="refused"))
    assert scores["log_likelihood"].dtype == scores["p_value"].dtype == np.float64
    assert scores["refused"].isna().all()


@pytest.mark.parametrize("suffix", ["csv", "json"])
@pytest.mark.parametrize("rows", [slice(0, 40), slice(0, 1), slice(1, 2)], ids=["many", "one missing", "one whole"])
def test_mlflow_predict_scores_files(served: str, bundle: Path, tmp_path: Path, suffix: str, rows: slice) -> None:
    import mlflow.models

    frame = records().to_pandas().iloc[rows].reset_index(drop=True)
    mlflow.models.predict(
        model_uri=served,
        input_path=str(write(frame, tmp_path / f"in.{suffix}")),
        content_type=suffix,
        output_path=str(tmp_path / "out.json"),
        env_manager="local",
    )
    agree(tmp_path / "out.json", frame, bundle)


@pytest.mark.e2e
@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_the_mlflow_command_scores_a_file(
    served: str, bundle: Path, registry: Registry, tmp_path: Path, suffix: str
) -> None:
    frame = records().to_pandas().head(40)
    command = ["-m", "mlflow", "models", "predict", "-m", served, "--env-manager", "local", "-t", suffix]
    files = ["-i", str(write(frame, tmp_path / f"in.{suffix}")), "-o", str(tmp_path / "out.json")]
    subprocess.run([sys.executable, *command, *files], check=True, env=dict(os.environ), cwd=tmp_path)
    agree(tmp_path / "out.json", frame, bundle)


def test_a_record_that_cannot_be_scored_says_why(served: str) -> None:
    import mlflow.pyfunc

    frame = records().to_pandas().iloc[[1, 2]].assign(air_time=[np.inf, 90.0])
    scores = mlflow.pyfunc.load_model(served).predict(frame)
    assert "air_time" in scores["refused"][0]
    assert scores["refused"][1] is None
    assert np.isnan(scores["score"][0])
    assert not scores["flag"][0]


def odd_flights() -> pd.DataFrame:
    """Ten records of which the fourth has an absurd air time."""
    return records().to_pandas().iloc[1:11].assign(air_time=[100.0] * 3 + [9000.0] + [100.0] * 6)


def test_reasons_come_with_what_is_flagged_where_they_are_asked_for(served: str) -> None:
    import mlflow.pyfunc

    scorer = mlflow.pyfunc.load_model(served)
    frame = odd_flights()
    plain, told = scorer.predict(frame), scorer.predict(frame, params={"reasons": 1})
    assert not {"reasons", "reason_columns"} & set(plain.columns)
    pd.testing.assert_frame_equal(told.drop(columns=["reasons", "reason_columns"]), plain)
    assert told["flag"][3]
    assert told["reason_columns"][3] == ["air_time"]
    assert told["reasons"][3][0].startswith("air_time 9,000; ")
    assert [len(words) for words in told["reasons"]] == told["flag"].astype(int).tolist()
    assert scorer.predict(frame.iloc[:0], params={"reasons": 2}).empty
    with pytest.raises(FlowguardError, match="parameter reasons is -1"):
        scorer.predict(frame, params={"reasons": -1})


def test_reasons_pass_through_mlflows_json(served: str, tmp_path: Path) -> None:
    import mlflow.models

    asked = json.loads(write(odd_flights(), tmp_path / "in.json").read_text())
    (tmp_path / "in.json").write_text(json.dumps({**asked, "params": {"reasons": 2}}))
    mlflow.models.predict(
        model_uri=served,
        input_path=str(tmp_path / "in.json"),
        content_type="json",
        output_path=str(tmp_path / "out.json"),
        env_manager="local",
    )
    answer = json.loads((tmp_path / "out.json").read_text(), parse_constant=pytest.fail)["predictions"]
    assert answer[3]["reason_columns"][0] == "air_time"
    assert all(isinstance(words, str) for words in answer[3]["reasons"])


def test_a_version_whose_policy_extrapolates_says_so_of_every_p_value(
    registry: Registry, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.pyfunc

    detector = load(bundle)
    held = hold(detector, [(records(), np.arange(ROWS).astype(str))])
    save(calibrate(detector, held, policy=FalseAlarmRate(0.001, extrapolate=True)), tmp_path / "sealed")
    registry.log_version(tmp_path / "sealed", name="beyond", inputs=dict(detector.input_schema()), key=detector.key)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking_uri)
    scores = mlflow.pyfunc.load_model("models:/beyond@champion").predict(odd_flights())
    assert list(scores.columns) == list(load(tmp_path / "sealed").score_frame(odd_flights()).columns)
    assert scores["extrapolated"].tolist() == [row == 3 for row in range(10)]


def test_a_column_that_is_absent_or_of_another_kind_is_named(served: str) -> None:
    import mlflow.pyfunc

    scorer = mlflow.pyfunc.load_model(served)
    frame = records().to_pandas().head(3)
    with pytest.raises(Exception, match="seats"):
        scorer.predict(frame.drop(columns="seats"))
    with pytest.raises(FlowguardError, match="Column origin, record 1: found 5"):
        scorer.predict(frame.assign(origin=5))
    assert len(scorer.predict(frame.drop(columns="flight"))) == 3


def test_the_stored_model_has_its_signature_pins_and_example_and_no_pickle(
    registry: Registry, version: Version
) -> None:
    from mlflow.models import Model

    folder = stored(registry, version)
    signature = Model.load(str(folder / "MLmodel")).signature
    assert signature.inputs.required_input_names() == ["delay", "air_time", "origin", "seats", "weekend", "left"]
    assert signature.inputs.optional_input_names() == ["flight"]
    types = {column.name: str(column.type) for column in signature.outputs}
    assert types["log_likelihood"] == "DataType.double"
    assert types["flag"] == "DataType.boolean"
    assert signature.params.to_dict() == [{"name": "reasons", "type": "long", "default": 0, "shape": None}]
    pins = (folder / "requirements.txt").read_text().splitlines()
    assert {pin.split("==")[0] for pin in pins} >= {"flowguard", "mlflow", "torch", "numpy"}
    assert "+" not in "".join(pins)
    example = json.loads((folder / "input_example.json").read_text(), parse_constant=pytest.fail)
    assert example["data"][0][1:4] == [None, pytest.approx(records().to_pandas()["air_time"][0]), None]
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".pt", ".joblib")]
    page = registry._client.get_model_version(version.name, str(version.version))
    assert "| left | timestamp[us, tz=UTC] |" in page.description


def test_a_model_that_mlflow_stored_without_signature_is_not_registered(
    registry: Registry, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "model_signature", lambda inputs, key: None)
    with pytest.raises(FlowguardError, match="without its signature"):
        registry.log_version(bundle, name="unsigned", inputs={"delay": "double"})
    assert registry.versions("unsigned") == []
