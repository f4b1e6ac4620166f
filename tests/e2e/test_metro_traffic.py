"""The pipeline of metro_traffic on its own data: the readings known to be wrong are found, for the right reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.e2e.conftest import FLOWGUARD, ROOT
from tests.e2e.process import plain_environment

pytestmark = pytest.mark.e2e

DATA = Path(os.environ.get("FLOWGUARD_DATA", ROOT / "../shared/data"))
CSV = DATA / "metro_traffic/Metro_Interstate_Traffic_Volume.csv"
PIPELINE = "pipelines/metro_traffic.yaml"
ZERO_KELVIN = [f"2014-01-31T{hour:02}:00:00" for hour in range(3, 7)]
ZERO_KELVIN += [f"2014-02-02T{hour:02}:00:00" for hour in range(3, 9)]
FLOOD = "2016-07-11T17:00:00"
FAULTY = {**dict.fromkeys(ZERO_KELVIN, "temp 0 K;"), FLOOD: "rain_1h 9,831 mm;"}


def flowguard(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [FLOWGUARD, *arguments],
        cwd=folder,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the data and the pipeline, trained, in which the faulty days were scored."""
    if not CSV.exists():
        pytest.skip(f"there is no {CSV}; FLOWGUARD_DATA names the folder with metro_traffic/")
    folder = tmp_path_factory.mktemp("metro")
    table = folder / "data/metro_traffic/traffic.parquet"
    table.parent.mkdir(parents=True)
    pd.read_csv(CSV).to_parquet(table)
    (folder / "pipelines").mkdir()
    shutil.copy(ROOT / PIPELINE, folder / PIPELINE)
    flowguard(folder, "train", PIPELINE)
    for day in sorted({key[:10] for key in FAULTY}):
        flowguard(folder, "score", PIPELINE, "--batch", day)
    return folder


def test_the_readings_known_to_be_wrong_are_found_and_named_first(project: Path) -> None:
    found = json.loads(flowguard(project, "flagged", PIPELINE, "--top", "100", "--json"))
    first = {record["date_time"]: record["reasons"][0] for record in found}
    assert first.keys() >= FAULTY.keys()
    assert {key: first[key] for key in FAULTY if not first[key].startswith(FAULTY[key])} == {}
    assert all(record["p_value"] <= 0.002 for record in found)
    # Three days have 72 hours, of which few others are flagged.
    assert len(found) <= len(FAULTY) + 4


def test_an_hour_is_one_record_and_nothing_faulty_was_trained_on(project: Path) -> None:
    manifests = [json.loads(path.read_text()) for path in (project / "runs/metro_traffic/manifests").rglob("*.json")]
    assert sorted((one["batch"], one["read"]) for one in manifests) == [
        ("2014-01-31", 24),
        ("2014-02-02", 24),
        ("2016-07-11", 24),
    ]
    (bundle,) = (project / "runs/.bundles").iterdir()
    provenance = json.loads((bundle / "provenance.json").read_text())
    assert provenance["split"]["until"] == "2014-01-01"
    # The hours of those 15 months; with a row for every description of the weather they would be 11,132.
    assert sum(provenance["records"].values()) == 9397
    assert provenance["holdout"]["within"] is True
