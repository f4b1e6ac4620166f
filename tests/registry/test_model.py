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
