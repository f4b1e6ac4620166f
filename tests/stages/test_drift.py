"""Drift on a pipeline: every batch has a record, a change is named, and a rerun changes nothing."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.errors import InputError
from flowguard.stages.drift import drift
from flowguard.stages.recalibrate import recalibrate
from flowguard.stages.report import report
from flowguard.stages.score import score
from flowguard.stages.train import train
from flowguard.stages.workspace import store_in
from tests.conftest import PIPELINE, meters, write_project

pytestmark = pytest.mark.e2e  # trainings of whole pipelines

FIRST = date(2026, 1, 1)
DAYS = PIPELINE.replace("batch: file", "batch: day\n  time: day").replace(
    "split: {train: 0.5, validation: 0.1, calibration: 0.3, holdout: 0.1}",
    "split: {until: 2026-04-01, unit: [day], train: 0.3, validation: 0.05, calibration: 0.6, holdout: 0.05}",
)


def a_day(number: int, *, gaps: bool = False) -> pa.Table:
    table = meters(80, number)
    if gaps:
        flow = table["flow"].to_numpy(zero_copy_only=False).copy()
        flow[np.arange(80) % 2 == 0] = np.nan
        table = table.set_column(table.column_names.index("flow"), "flow", pa.array(flow, mask=np.isnan(flow)))
    day = FIRST + timedelta(number)
    return table.append_column("day", pa.array([day] * 80))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_project(tmp_path_factory.mktemp("drift") / "project", DAYS)
    folder = path.parents[1] / "data"
    for file in folder.glob("*.parquet"):
        file.unlink()
    for number in range(90):
        pq.write_table(a_day(number), folder / f"{number:03d}.parquet")
    train(path)
    for number in range(90, 125):
        pq.write_table(a_day(number, gaps=number >= 100), folder / f"{number:03d}.parquet")
    score(path, since=date(2026, 4, 1))
    return path


def test_every_scored_batch_has_a_record_in_the_order_of_the_days(watched: Path) -> None:
    found = drift(watched)
    assert [record.batch for record in found.records] == [str(FIRST + timedelta(n)) for n in range(90, 125)]
    assert all(record.records == 80 for record in found.records)


def test_what_broke_is_named_and_kept_in_the_store(watched: Path) -> None:
    found = drift(watched)
    assert found.alarms, "flow is missing in half of the records from day 100 on"
    first = found.alarms[0]
    assert str(FIRST + timedelta(100)) <= first.batch <= str(FIRST + timedelta(122))
    assert first.drift is not None
    assert first.drift.kind == "missing"
    assert "flow" in first.drift.sentence
    kept = store_in(watched.parents[1] / "runs").drift.of("meters", alarmed=True)
    assert kept[0].batch == first.batch
    assert kept[0].alarms[0].kind == "missing"


def test_scoring_a_batch_again_gives_the_same_record_at_the_same_place(watched: Path) -> None:
    before = drift(watched)
    score(watched, batch=str(FIRST + timedelta(95)), force=True)
    assert drift(watched) == before


def test_the_page_is_written_beside_the_run_s_and_each_leads_to_the_other(watched: Path) -> None:
    pages = watched.parents[1] / "runs/meters/reports"
    lone = drift(watched).page
    assert lone == pages / "drift.html"
    assert "run.html" not in lone.read_text(encoding="utf-8"), "no link to a page that is not there"
    assert 'href="batch-' not in lone.read_text(encoding="utf-8")

    made = report(watched)
    assert made.drift == lone
    alarm = drift(watched).alarms[-1]
    assert alarm.drift is not None
    assert made.drifted.startswith("Drift alarm with ")
    assert made.drifted.endswith(f"{alarm.drift.sentence}.")
    run, page = (path.read_text(encoding="utf-8") for path in (made.run, made.drift))
    assert 'href="drift.html"' in run
    assert made.drifted.replace(" %", "\u00a0%") in run
    assert 'href="run.html"' in page
    assert f'href="batch-{alarm.batch}.html"' in page
    assert drift(watched).page.read_text(encoding="utf-8").count("href=") == page.count("href=")


def test_an_older_version_has_a_page_of_its_own(watched: Path, tmp_path: Path) -> None:
    path = tmp_path / "project/pipelines/meters.yaml"
    shutil.copytree(watched.parents[1], tmp_path / "project")
    path.write_text(path.read_text().replace("false_alarm_rate: 0.01", "false_alarm_rate: 0.05"))
    made = recalibrate(path)
    assert made.registered.version.version == 2
    first = report(path)
    score(path, batch="2026-04-01", version=2, force=True)
    second = report(path)
    assert "in 35 batches" in first.drifted or "of 35 batches" in first.drifted
    assert second.drifted == "No drift alarm in 1 batch."
    assert drift(path, version=2).page.name == "drift.html"
    assert drift(path, version=1).page.name == "drift-version-1.html"


def test_without_a_scored_batch_the_next_command_is_named(project: Path) -> None:
    with pytest.raises(InputError, match="flowguard score"):
        drift(project)
