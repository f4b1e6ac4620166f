"""Recalibration: the same weights, other thresholds, a version of its own, and never a record it was trained on."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.errors import CalibrationError
from flowguard.stages.models import journal, models
from flowguard.stages.recalibrate import recalibrate
from flowguard.stages.report import report
from flowguard.stages.score import detector_of, score
from flowguard.stages.train import train
from flowguard.stages.workspace import Workspace
from tests.conftest import PIPELINE, meters, write_project

DAYS = PIPELINE.replace("batch: file", "batch: day\n  time: day").replace(
    "split: {", "split: {until: 2026-01-31, unit: [day], "
)


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_weights_keep_their_bytes_and_the_policy_of_the_file_now_holds(project: Path) -> None:
    change(project, "false_alarm_rate: 0.01", "false_alarm_rate: 0.05")
    made = recalibrate(project)
    assert made.parent.version == 1
    assert made.registered.version.version == 2
    assert "challenger" in made.registered.version.aliases
    assert made.calibrated.policy == "false alarm rate 5 %"
    workspace = Workspace.open(project)
    first, second = (detector_of(workspace, workspace.registry.resolve("meters", n)) for n in (1, 2))
    for name, weights in first.density.state_dict().items():
        assert weights.numpy().tobytes() == second.density.state_dict()[name].numpy().tobytes()
    assert first.encoder.to_dict() == second.encoder.to_dict()
    assert second.provenance["recalibrated"]["version"] == 1
    assert second.provenance["recalibrated"]["bundle"] == made.parent.digest
    assert first.calibration is not None
    assert second.calibration is not None
    assert first.calibration.scores.tobytes() == second.calibration.scores.tobytes(), "the same records"
    assert second.calibration.threshold < first.calibration.threshold
    told = [(one.alias, one.to_version, one.why) for one in journal(project.parents[1] / "runs", "meters")]
    assert ("challenger", 2, "recalibrated version 1") in told
    flags = {n: sum(one.manifest.flagged for one in score(project, version=n, force=True)) for n in (1, 2)}
    assert flags[2] > 2 * flags[1]


def test_the_same_recalibration_is_there_already_and_a_training_is_still_known(project: Path) -> None:
    change(project, "false_alarm_rate: 0.01", "false_alarm_rate: 0.05")
    first, again = recalibrate(project), recalibrate(project)
    assert again.registered.known
    assert again.registered.version.version == first.registered.version.version
    change(project, "false_alarm_rate: 0.05", "false_alarm_rate: 0.01")
    assert train(project).registered.version.version == 1
    assert [one.version for one in models(project.parents[1] / "runs", "meters")] == [2, 1]


@pytest.mark.e2e
def test_later_days_all_calibrate_and_of_the_days_trained_on_only_those_held_out(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project", DAYS)
    folder = path.parents[1] / "data"
    for file in sorted(folder.glob("*.parquet")):
        file.unlink()
    for day in range(1, 57):
        table = meters(60, day)
        when = pa.array([dt.date.fromordinal(739616 + day)] * 60)
        pq.write_table(table.append_column("day", when), folder / f"{day:02d}.parquet")
    trained = train(path)
    assert trained.calibrated is not None
    assert trained.calibrated.dates is not None
    first, last = trained.calibrated.dates
    assert "2026-01-01" <= first < last < "2026-01-31"
    inside = recalibrate(path)
    assert inside.calibrated.size + inside.calibrated.holdout.records <= (  # type: ignore[union-attr]
        trained.dealt.records["calibration"] + trained.dealt.records["holdout"]
    )
    late = recalibrate(path, since=dt.date(2026, 1, 31), until=dt.date(2026, 3, 1))
    assert late.calibrated.dates is not None
    assert "2026-01-31" <= late.calibrated.dates[0] < late.calibrated.dates[1] <= "2026-02-25"
    workspace = Workspace.open(path)
    held = detector_of(workspace, late.registered.version).provenance["records"]
    read = sum(b.num_rows for b in workspace.source().read(["id"], since=dt.date(2026, 1, 31)))
    assert held["calibration"] + held["holdout"] == read > 0
    assert [one.tags["calibrated_to"] for one in models(path.parents[1] / "runs", "meters")][-1] == last
    for day, gap in (("2026-02-25", dt.date(2026, 2, 25) - dt.date.fromisoformat(last)), (first, None)):
        assert score(path, batch=day, version=1)[0].manifest.calibrated == [first, last]
        page = report(path, batch=day).pages[0].read_text(encoding="utf-8")
        days = f"calibrated on records of {first} to {last}"
        assert (f"{days}, {gap.days} days before this batch</p>" if gap else f"{days}</p>") in page


@pytest.mark.e2e
def test_days_that_are_redacted_are_not_told(tmp_path: Path) -> None:
    text = DAYS.replace("batch: day", "batch: file").replace("key: [id]", "key: [id]\n  redact: [day]")
    path = write_project(tmp_path / "project", text.replace("until: 2026-01-31, unit: [day], ", ""))
    for number, file in enumerate(sorted((path.parents[1] / "data").glob("*.parquet"))):
        when = pa.array([dt.date(2026, 1, 1 + number)] * 1000)
        pq.write_table(meters(1000, number).append_column("day", when), file)
    trained = train(path)
    assert trained.calibrated is not None
    assert trained.calibrated.dates is None
    assert "2026-01-0" not in str(trained.registered.version)


@pytest.mark.e2e
@pytest.mark.parametrize("batch", ["day\n", "file\n  redact: [when]\n"], ids=["days", "files, redacted"])
def test_records_without_a_key_and_with_hours_are_dealt_out_as_they_were(tmp_path: Path, batch: str) -> None:
    """Without a unit it is the hash of the whole record; a day begins at midnight whatever the hour."""
    text = PIPELINE.replace("batch: file\n  key: [id]\n", f"time: when\n  batch: {batch}")
    path = write_project(tmp_path / "project", text.replace("split: {", "split: {until: 2026-01-04, "))
    for number in range(3):
        table = meters(1000, number)
        start = dt.datetime(2026, 1, 1, 0, 30)
        when = pa.array([start + dt.timedelta(minutes=7 * i) for i in range(1000)], pa.timestamp("us"))
        pq.write_table(table.append_column("when", when), path.parents[1] / "data" / f"part{number}.parquet")
    train(path)
    recalibrate(path)
    workspace = Workspace.open(path)
    first, second = (detector_of(workspace, workspace.registry.resolve("meters", n)) for n in (1, 2))
    assert first.calibration is not None
    assert second.calibration is not None
    assert first.calibration.scores.tobytes() == second.calibration.scores.tobytes(), "the same records"
    later = recalibrate(path, since=dt.date(2026, 1, 4))
    read = sum(chunk.num_rows for chunk in workspace.source().read(["id"], since=dt.date(2026, 1, 4)))
    held = detector_of(workspace, later.registered.version).provenance["records"]
    assert held["calibration"] + held["holdout"] == read > 300, "every record of later days"


def test_another_split_or_no_record_left_is_refused_with_the_remedy(project: Path) -> None:
    change(project, "train: 0.5", "train: 0.4")
    change(project, "holdout: 0.1", "holdout: 0.2")
    with pytest.raises(CalibrationError, match=r"split\.train is 0\.4 now and was 0\.5"):
        recalibrate(project)


def test_a_policy_that_the_records_cannot_support_is_refused(project: Path) -> None:
    change(project, "false_alarm_rate: 0.01", "false_alarm_rate: 0.0001")
    with pytest.raises(CalibrationError, match="needs 9,999 calibration records"):
        recalibrate(project)
