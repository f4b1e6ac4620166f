"""Rolling and weighted calibration, and ties by lot, from the pipeline file to the page."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.errors import FlowguardError, PipelineError
from flowguard.spec import load_pipeline
from flowguard.stages.report import report
from flowguard.stages.score import ScoredBatch, score
from flowguard.stages.train import train
from tests.conftest import PIPELINE, meters, write_project

DAYS = PIPELINE.replace("batch: file", "batch: day\n  time: day").replace(
    "split: {", "split: {until: 2026-01-31, unit: [day], "
)
FIRST = dt.date(2026, 1, 1)


def project(folder: Path, calibration: str, days: int) -> Path:
    """Days of 60 records; from February on, power creeps up."""
    path = write_project(folder / "project", DAYS + f"calibration: {calibration}\n")
    data = path.parents[1] / "data"
    for file in sorted(data.glob("*.parquet")):
        file.unlink()
    for day in range(days):
        table = meters(60, day)
        power = table["power"].to_numpy() + max(0, day - 31) * 0.15
        table = table.set_column(table.column_names.index("power"), "power", pa.array(power))
        when = pa.array([FIRST + dt.timedelta(day)] * 60)
        pq.write_table(table.append_column("day", when), data / f"{day:02d}.parquet")
    return path


def shares(results: list[ScoredBatch]) -> list[float]:
    return [one.manifest.flagged / one.manifest.scored for one in results]


@pytest.mark.e2e
def test_a_rolling_calibration_follows_what_a_fixed_one_does_not(tmp_path: Path) -> None:
    path = project(tmp_path, "{window: 5}", 50)
    train(path)
    rolling = score(path, since=dt.date(2026, 1, 31))
    last = rolling[-1].manifest
    assert last.reference is not None
    assert last.reference["batches"] == 4
    assert (last.reference["first"], last.reference["last"]) == ("2026-02-15", "2026-02-18")
    assert last.reference["records"] == 4 * 60
    assert "of about 1 %" in last.guarantee
    assert last.thresholds is not None
    folder = path.parents[1] / "runs" / "meters"
    table = pq.read_table(folder / last.files["scores"], partitioning=None)
    flag, scores = (table[name].to_numpy(zero_copy_only=False) for name in ("flag", "score"))
    assert np.array_equal(flag, scores > last.threshold)
    page = report(path).pages[-1].read_text(encoding="utf-8")
    assert "ranked among 240 records of 2026-02-15 to 2026-02-18" in page
    assert "the rate is approximate" in page

    # The same records under the sealed calibration alone.
    path.write_text(path.read_text().replace("calibration: {window: 5}\n", ""))
    fixed_project = path.with_name("meters.yaml")
    assert train(fixed_project).registered.version.version == 2
    fixed = score(fixed_project, since=dt.date(2026, 1, 31), version=2, force=True)
    assert fixed[-1].manifest.reference is None
    assert np.mean(shares(fixed)[-8:]) > 2 * np.mean(shares(rolling)[-8:])


@pytest.mark.e2e
def test_a_past_day_scored_again_is_ranked_as_before(tmp_path: Path) -> None:
    path = project(tmp_path, "{half_life: 7}", 40)
    train(path)
    # Days that it was trained on are scored too, and no later day is ranked among them.
    first = {one.manifest.batch: one.manifest for one in score(path)}
    assert first["2026-01-31"].reference["batches"] == 0  # type: ignore[index]
    assert first["2026-02-02"].reference["batches"] == 2  # type: ignore[index]
    (again,) = score(path, batch="2026-02-04", force=True)
    before = first["2026-02-04"]
    assert again.manifest.reference == before.reference
    folder = path.parents[1] / "runs" / "meters"
    assert again.manifest.files == before.files
    one = pq.read_table(folder / again.manifest.files["scores"], partitioning=None)
    assert one.num_rows == 60
    gone = folder / first["2026-02-05"].files["scores"]
    gone.unlink()
    with pytest.raises(FlowguardError, match="Score it again"):
        score(path, batch="2026-02-06", force=True)


def test_ties_by_lot_go_from_the_file_to_the_flags_and_are_drawn_once(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project", PIPELINE + "calibration: {ties: random}\n")
    train(path)
    first, second = (score(path, force=True) for _ in range(2))
    folder = path.parents[1] / "runs" / "meters"
    for one, other in zip(first, second, strict=True):
        tables = [pq.read_table(folder / result.manifest.files["scores"], partitioning=None) for result in (one, other)]
        assert tables[0].equals(tables[1])
        p_value = tables[0]["p_value"].to_numpy()
        assert len(set(p_value.tolist())) > 900, "a rank alone has far fewer values"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (PIPELINE + "calibration: {window: 7}\n", "daily batches"),
        (DAYS + "calibration: {window: 0}\n", "expected a number at least 1"),
        (DAYS + "calibration: {half_life: 7, ties: random}\n", "one of both"),
        (DAYS.replace("false_alarm_rate: 0.01", "fdr: 0.1") + "calibration: {window: 7}\n", "no false discovery rate"),
        (DAYS.replace("0.01}", "0.01, extrapolate: true}") + "calibration: {ties: random}\n", "a tail is fitted"),
    ],
)
def test_what_cannot_be_ranked_so_is_refused_with_the_key(tmp_path: Path, file: str, said: str) -> None:
    path = write_project(tmp_path / "project", file)
    with pytest.raises(PipelineError, match="calibration") as caught:
        load_pipeline(path)
    assert said in str(caught.value)
