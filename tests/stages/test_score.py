"""Scoring: whole or not at all, whatever kills it and whoever runs beside it; odd sources of batches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from flowguard.errors import FlowguardError
from flowguard.stages import score as scoring
from flowguard.stages.flagged import flagged
from flowguard.stages.manifest import latest
from flowguard.stages.report import report
from flowguard.stages.score import plan_scoring, score, score_batch
from tests.conftest import PIPELINE, meters

SCORES = pa.schema(
    [
        ("record_id", pa.string()),
        ("id", pa.int64()),
        ("log_likelihood", pa.float64()),
        ("log_density", pa.float64()),
        ("log_mass", pa.float64()),
        ("score", pa.float64()),
        ("p_value", pa.float64()),
        ("extrapolated", pa.bool_()),
        ("group", pa.string()),
        ("flag", pa.bool_()),
    ]
)


def folder_of(pipeline: Path) -> Path:
    return pipeline.parents[1] / "runs" / "meters"


def outputs(pipeline: Path) -> list[Path]:
    """Everything below scores, reasons and quarantine, hidden files too."""
    kinds = ("scores", "reasons", "quarantine")
    return sorted(path for kind in kinds for path in (folder_of(pipeline) / kind).rglob("*") if path.is_file())


def redirected(project: Path, source: str) -> Path:
    """The pipeline, pointed at other data."""
    start, stop = PIPELINE.index("source:"), PIPELINE.index("columns:")
    project.write_text(PIPELINE[:start] + f"source: {source}\n" + PIPELINE[stop:])
    return project


def test_scores_have_these_columns_of_these_types(project: Path) -> None:
    (result,) = score(project, batch="part0")
    assert pq.read_schema(folder_of(project) / result.manifest.files["scores"]).equals(SCORES)


def test_readers_of_the_folder_see_batch_and_version_as_columns(project: Path) -> None:
    score(project)
    table = ds.dataset(folder_of(project) / "scores", partitioning="hive").to_table()
    assert table.num_rows == 3000
    assert set(table["batch"].to_pylist()) == {"part0", "part1", "part2"}
    assert set(table["version"].to_pylist()) == {1}


@pytest.mark.e2e
def test_a_kill_in_the_middle_leaves_nothing_that_counts(project: Path) -> None:
    """As a power cut does it: after some of the records are written, before the files have their names."""
    code = (
        "import os, sys\nfrom flowguard.stages import output, score\n"
        "write = output.BatchWriter.write_scores\n"
        "def once(self, *rest):\n    write(self, *rest)\n    os.kill(os.getpid(), 9)\n"
        "output.BatchWriter.write_scores = once\n"
        "score.score(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(project)], capture_output=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    left = outputs(project)
    assert left, "the kill came too early to leave anything"
    assert all(path.name.startswith(".") for path in left), "readers of Parquet folders leave these out"
    assert latest(folder_of(project)) == {}
    assert flagged(project).total == 0
    assert [result.fresh for result in score(project)] == [True] * 3
    named = {folder_of(project) / file for one in latest(folder_of(project)).values() for file in one.files.values()}
    assert {path for path in outputs(project) if not path.name.startswith(".")} == named
    # A young leftover may be another run's work; an old one is nobody's.
    for path in left:
        os.utime(path, (0, 0))
    score(project, batch="part0", force=True)
    assert set(outputs(project)) == named


def test_a_failure_in_the_middle_leaves_no_file_at_all(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("flowguard.stages.output.BatchWriter.write_quarantine", fail)
    with pytest.raises(OSError, match="no space"):
        score(project, batch="part0")
    assert outputs(project) == []


def test_a_failure_while_a_batch_is_scored_again_keeps_its_former_result(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(project, batch="part0")
    before = {path: path.read_bytes() for path in outputs(project)}
    pq.write_table(meters(300, 8), project.parents[1] / "data" / "part0.parquet")

    def fail(*args: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(scoring, "write_manifest", fail)
        with pytest.raises(OSError, match="no space"):
            score(project, batch="part0")
    assert latest(folder_of(project))["part0"].read == 1000
    assert all(path.read_bytes() == content for path, content in before.items())
    assert flagged(project).total == latest(folder_of(project))["part0"].flagged
    (result,) = score(project, batch="part0")
    assert (result.fresh, result.manifest.read) == (True, 300)
    assert not any(path.exists() for path in before)


def test_two_runs_of_one_batch_at_once_yield_one_result(project: Path) -> None:
    score(project, batch="part0")
    once = {path: path.read_bytes() for path in outputs(project)}
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(score_batch, project, "part0", force=True) for _ in range(4)]
        assert all(run.result().manifest.read == 1000 for run in runs)
    assert {path: path.read_bytes() for path in outputs(project)} == once


def test_a_file_that_was_only_touched_is_looked_at_once_more_and_no_more(project: Path) -> None:
    score(project)
    before = {path: path.stat().st_mtime_ns for path in outputs(project)}
    os.utime(project.parents[1] / "data" / "part1.parquet")
    assert plan_scoring(project).batches == ("part1",)
    (result,) = score(project)
    assert not result.fresh
    assert plan_scoring(project).batches == ()
    assert {path: path.stat().st_mtime_ns for path in outputs(project)} == before


def test_a_result_whose_file_is_gone_says_so_and_is_made_anew(project: Path) -> None:
    (result,) = score(project, batch="part2")
    assert result.manifest.flagged
    (folder_of(project) / result.manifest.files["scores"]).unlink()
    with pytest.raises(FlowguardError, match=r"is gone.*flowguard score"):
        flagged(project)
    (again,) = score(project, batch="part2")
    assert again.fresh
    assert flagged(project).total == again.manifest.flagged


def test_a_file_without_records_is_a_batch_of_none(project: Path) -> None:
    pq.write_table(meters(5, 1).slice(0, 0), project.parents[1] / "data" / "none.parquet")
    (result,) = score(project, batch="none")
    assert (result.manifest.read, result.manifest.scored, result.manifest.files) == (0, 0, {})
    assert score(project, batch="none")[0].fresh is False
    score(project)
    assert flagged(project).total > 0
    assert len(report(project).pages) == 4


def test_a_batch_of_nothing_but_refused_records_is_counted(project: Path) -> None:
    table = meters(20, 1)
    table = table.set_column(3, "power", pa.array([float("-inf")] * 20))
    pq.write_table(table, project.parents[1] / "data" / "lost.parquet")
    (result,) = score(project, batch="lost")
    manifest = result.manifest
    assert (manifest.read, manifest.scored, manifest.flagged, manifest.quarantined_total) == (20, 0, 0, 20)
    assert manifest.quantiles == {}
    assert pq.read_table(folder_of(project) / manifest.files["scores"], partitioning=None).num_rows == 0
    held = pq.read_table(folder_of(project) / manifest.files["quarantine"], partitioning=None)
    assert held.schema.names == ["record_id", "id", "reason"]
    assert len(set(held["record_id"].to_pylist())) == 20
    assert flagged(project, batch="lost").total == 0
    report(project)


def test_partitions_are_batches_and_their_column_can_be_context(project: Path) -> None:
    for number in range(4):
        table = meters(200, number)
        for site in ("north", "south"):
            folder = project.parents[1] / "split" / f"site={site}"
            folder.mkdir(parents=True, exist_ok=True)
            part = table.filter(pa.array(np.array(table["site"].to_pylist()) == site)).drop_columns("site")
            pq.write_table(part, folder / f"{number}.parquet")
    results = score(redirected(project, "{path: split, batch: partition, key: [id]}"))
    assert [result.manifest.batch for result in results] == ["site=north", "site=south"]
    assert sum(result.manifest.read for result in results) == 800
    assert score(project) == []
    # The same records from plain files get the same scores: how the data lies does not matter.
    pq.write_table(meters(200, 0), project.parents[1] / "data" / "part0.parquet")
    (whole,) = score(redirected(project, "{path: data/part0.parquet, key: [id]}"), batch="part0")

    def numbers(files: list[str]) -> dict[str, tuple[float, ...]]:
        rows = [
            row for file in files for row in pq.read_table(folder_of(project) / file, partitioning=None).to_pylist()
        ]
        return {row["record_id"]: (row["log_likelihood"], row["score"], row["p_value"]) for row in rows}

    apart = numbers([result.manifest.files["scores"] for result in results])
    assert {id_: apart[id_] for id_ in numbers([whole.manifest.files["scores"]])} == numbers(
        [whole.manifest.files["scores"]]
    )


def test_days_of_a_timestamp_are_batches_and_undated_records_have_their_own(project: Path) -> None:
    table = meters(300, 3)
    start = np.datetime64("2026-03-01T12:00", "s")
    moments = [None if row == 7 else (start + row * 900).item() for row in range(300)]
    (project.parents[1] / "days").mkdir()
    for number in range(2):  # a day may lie in two files
        part = table.append_column("at", pa.array(moments, pa.timestamp("s"))).slice(number * 150, 150)
        pq.write_table(part, project.parents[1] / "days" / f"{number}.parquet")
    path = redirected(project, "{path: days, batch: day, time: at, key: [id]}")
    results = score(path)
    counts = {result.manifest.batch: result.manifest.read for result in results}
    assert list(counts)[:2] == ["2026-03-01", "2026-03-02"]
    assert counts["2026-03-01"] == 47
    assert sum(counts.values()) == 300
    (undated,) = set(counts) - {f"2026-03-0{day}" for day in range(1, 6)}
    assert counts[undated] == 1
    assert plan_scoring(path, force=True, since=date(2026, 3, 3)).batches[0] == "2026-03-03"


def test_dictionaries_that_differ_from_file_to_file_change_nothing(project: Path) -> None:
    plain = score(project, batch="part0")[0].manifest
    table = pq.read_table(project.parents[1] / "data" / "part0.parquet")
    coded = table.set_column(1, "site", table["site"].dictionary_encode())
    pq.write_table(coded, project.parents[1] / "data" / "part0.parquet", row_group_size=100)
    (again,) = score(project, batch="part0")
    assert not again.fresh, "the same records, stored in another way"
    assert again.manifest.fingerprint == plain.fingerprint
