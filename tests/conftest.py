"""What tests share: a small real table, a pipeline on it, and one trained version per session."""

from __future__ import annotations

# The environment must be set before the libraries load.
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard import settings

for name in (settings.NAMED, *settings.VARIABLES):
    os.environ.pop(name, None)

PIPELINE = """\
name: meters
source:
  path: data/*.parquet
  batch: file
  key: [id]
columns:
  features:
    power: {kind: number, front: standard, unit: kW}
    flow: number
  context:
    site: category
    hour: {kind: cyclic, period: 24}
split: {train: 0.5, validation: 0.1, calibration: 0.3, holdout: 0.1}
model: {layers: 2, hidden: [16], bins: 4, epochs: 3, batch_size: 256, learning_rate: 0.005}
policy: {false_alarm_rate: 0.01}
resources: {threads: 1, tile: 256}
"""


def meters(rows: int, seed: int) -> pa.Table:
    """Power and flow of two sites over the day; flow is missing now and then."""
    rng = np.random.default_rng(seed)
    hour = rng.integers(0, 24, rows).astype(float)
    site = rng.choice(["north", "south"], rows)
    power = 5 + 3 * np.sin(hour / 24 * 2 * np.pi) + (site == "north") * 2 + rng.normal(0, 0.5, rows)
    flow = 10 * power + rng.normal(0, 2, rows)
    missing = rng.random(rows) < 0.05
    return pa.table(
        {
            "id": np.arange(rows) + seed * 1_000_000,
            "site": site,
            "hour": hour,
            "power": power,
            "flow": pa.array(flow, mask=missing),
        }
    )


def write_project(folder: Path, pipeline: str = PIPELINE) -> Path:
    """A project folder with three files of data and a pipeline; returns the pipeline's path."""
    (folder / "data").mkdir(parents=True)
    (folder / "pipelines").mkdir()
    for number in range(3):
        pq.write_table(meters(1000, number), folder / "data" / f"part{number}.parquet")
    path = folder / "pipelines" / "meters.yaml"
    path.write_text(pipeline, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose pipeline has been trained once; copy it (`project`), never change it."""
    from flowguard.stages.train import train

    path = write_project(tmp_path_factory.mktemp("trained") / "project")
    train(path)
    return path.parents[1]


@pytest.fixture
def project(trained_project: Path, tmp_path: Path) -> Path:
    """A copy of the trained project for one test: its pipeline file."""
    folder = tmp_path / "project"
    shutil.copytree(trained_project, folder)
    # The registry's rows name the artifact folder they were written to; MLflow finds it there.
    return folder / "pipelines" / "meters.yaml"
