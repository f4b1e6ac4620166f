"""The stages on a small real table: versions, idempotence, deliveries, quarantine, kills."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.detector import load
from flowguard.errors import InputError, RegistryError, SchemaError, SourceError
from flowguard.stages import calibrate, check, deal, fit
from flowguard.stages import score as scoring
from flowguard.stages.flagged import flagged
from flowguard.stages.manifest import latest, manifests
from flowguard.stages.models import models, promote
from flowguard.stages.report import report
from flowguard.stages.score import score
from flowguard.stages.train import train
from tests.conftest import PIPELINE, meters, write_project

SCORES = ["record_id", "id", "log_likelihood", "log_density", "log_mass", "score", "p_value", "extrapolated", "group"]


def folder_of(pipeline: Path) -> Path:
    return pipeline.parents[1] / "runs" / "meters"


def snapshot(folder: Path) -> dict[str, bytes]:
    kinds = ("scores", "reasons", "quarantine")
    return {str(p.relative_to(folder)): p.read_bytes() for kind in kinds for p in (folder / kind).rglob("*.parquet")}


def put(pipeline: Path, name: str, table: pa.Table) -> None:
    pq.write_table(table, pipeline.parents[1] / "data" / name)


def test_check_tells_what_is_there_and_writes_nothing(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project")
    found = check.check(path)
    assert (found.rows, found.batches, found.features, found.context) == (3000, 3, ("power", "flow"), ("site", "hour"))
    assert not (tmp_path / "project" / "runs").exists()


def test_training_twice_gives_the_version_that_is_there(project: Path) -> None:
    again = train(project)
    assert again.registered.known
    assert again.fitted is None
    assert [version.version for version in models(project.parents[1] / "runs", "meters")] == [1]


@pytest.mark.e2e
def test_the_same_training_seals_to_the_same_bytes_even_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sealed(path: Path) -> str:
        fitted = fit.fit(path, deal.deal(path))
        return calibrate.calibrate(path, fitted.folder).digest

    whole = sealed(write_project(tmp_path / "whole"))
    path = write_project(tmp_path / "killed")
    # Killed after the first epoch's checkpoint: no clean-up runs, as with a power cut.
    code = (
        "import os, sys\nfrom flowguard.training import loop\n"
        "keep = loop.save_checkpoint\n"
        "def once(*args, **kwargs):\n    keep(*args, **kwargs)\n    os.kill(os.getpid(), 9)\n"
        "loop.save_checkpoint = once\n"
        "from flowguard.stages.train import train\ntrain(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert models(tmp_path / "killed" / "runs") == []
    fitted = fit.fit(path, deal.deal(path))
    assert fitted.resumed_at == 2
    assert calibrate.calibrate(path, fitted.folder).digest == whole


def test_scoring_writes_every_record_once_and_again_does_nothing(project: Path) -> None:
    first = score(project)
    assert [result.manifest.batch for result in first] == ["part0", "part1", "part2"]
    folder = folder_of(project)
    before = snapshot(folder)
    times = {path: os.stat(path).st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert score(project) == []
    (named,) = score(project, batch="part1")
    assert not named.fresh
    assert {path: os.stat(path).st_mtime_ns for path in folder.rglob("*") if path.is_file()} == times
    assert all(result.fresh for result in score(project, force=True))
    assert snapshot(folder) == before, "a rerun yields the same bytes"


def test_scores_hold_what_was_promised(project: Path) -> None:
    (result,) = score(project, batch="part0")
    table = pq.read_table(folder_of(project) / result.manifest.files["scores"], partitioning=None)
    assert table.schema.names == [*SCORES, "flag"]
    assert table.num_rows == 1000
    assert len(set(table["record_id"].to_pylist())) == 1000
    assert np.allclose(
        table["log_likelihood"].to_numpy(), table["log_mass"].to_numpy() + table["log_density"].to_numpy(), atol=0
    )
    flags = table["flag"].to_numpy(zero_copy_only=False)
    assert (flags == (table["p_value"].to_numpy() <= 0.01)).all()
    assert flags.sum() == result.manifest.flagged


def test_a_batch_delivered_again_replaces_its_former_self(project: Path) -> None:
    score(project)
    put(project, "part1.parquet", meters(600, 11))
    (result,) = score(project)
    assert (result.manifest.batch, result.manifest.read) == ("part1", 600)
    files = list((folder_of(project) / "scores/batch=part1/version=1").iterdir())
    assert [path.name for path in files] == [Path(result.manifest.files["scores"]).name]
    # Written again with the same content in another order and cut: the same batch, nothing to do.
    table = meters(600, 11)
    pq.write_table(
        table.take(np.random.default_rng(0).permutation(600)),
        project.parents[1] / "data" / "part1.parquet",
        row_group_size=50,
    )
    (again,) = score(project)
    assert not again.fresh


def test_what_cannot_be_scored_is_quarantined_and_counted(project: Path) -> None:
    table = meters(100, 21)
    power = table["power"].to_pylist()
    power[:4] = [float("inf"), float("-inf"), float("nan"), None]
    site = ["unseen" if row == 5 else value for row, value in enumerate(table["site"].to_pylist())]
    table = table.set_column(3, "power", pa.array(power)).set_column(1, "site", pa.array(site))
    put(project, "odd.parquet", table)
    (result,) = score(project, batch="odd")
    manifest = result.manifest
    assert (manifest.read, manifest.scored, manifest.quarantined) == (100, 98, {"power is infinite": 2})
    held = pq.read_table(folder_of(project) / manifest.files["quarantine"], partitioning=None)
    assert held["id"].to_pylist() == table["id"].to_pylist()[:2]
    assert held["reason"].to_pylist() == ["power is infinite"] * 2


def test_a_run_that_dies_before_its_manifest_leaves_nothing_that_counts(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(scoring, "write_manifest", die)
        with pytest.raises(KeyboardInterrupt):
            score(project, batch="part0")
    assert latest(folder_of(project)) == {}
    with pytest.raises(InputError, match="has not been scored"):
        flagged(project, batch="part0")
    (result,) = score(project, batch="part0")
    assert result.fresh
    assert flagged(project).total == result.manifest.flagged


def test_flagged_records_come_strangest_first_with_their_reasons(project: Path) -> None:
    table = meters(200, 31)
    flow = table["flow"].to_pylist()
    flow[7] = 5000.0
    put(project, "planted.parquet", table.set_column(4, "flow", pa.array(flow)))
    score(project)
    found = flagged(project, top=None)
    assert found.key == ("id",)
    assert found.total == len(found.records)
    order = [(record.p_value, -record.score) for record in found.records]
    assert order == sorted(order)
    first = found.records[0]
    assert (first.batch, first.key["id"]) == ("planted", table["id"][7].as_py())
    assert first.reasons[0].column == "flow"
    assert "5,000" in first.reasons[0].words


def test_a_change_of_policy_makes_a_challenger_that_promote_puts_in_charge(project: Path) -> None:
    project.write_text(project.read_text().replace("false_alarm_rate: 0.01", "false_alarm_rate: 0.02"))
    trained = train(project)
    runs = project.parents[1] / "runs"
    assert (trained.registered.version.version, trained.registered.version.aliases) == (2, ("challenger",))
    assert score(project, batch="part0")[0].manifest.version == 1
    promoted = promote(runs, "meters", 2)
    assert (promoted.champion.version, promoted.before) == (2, 1)
    # Scored batches stay scored; one that is named gets the new champion's word as well.
    assert [result.manifest.batch for result in score(project)] == ["part1", "part2"]
    assert score(project, batch="part0")[0].manifest.version == 2
    assert [manifest.version for manifest in manifests(folder_of(project), batch="part0")] == [1, 2]
    assert latest(folder_of(project))["part0"].level == 0.02
    assert score(project, batch="part0", version=1)[0].fresh is False
    with pytest.raises(RegistryError, match="no version 9"):
        promote(runs, "meters", 9)


def test_an_index_of_manifests_survives_a_reader_in_between(project: Path) -> None:
    score(project)
    for manifest in latest(folder_of(project)).values():
        for file in manifest.files.values():
            assert (folder_of(project) / file).exists()
        assert manifest.read == manifest.scored + manifest.quarantined_total
        assert json.dumps(manifest.quantiles)


def test_pages_are_written_for_every_batch_and_the_run(project: Path) -> None:
    score(project)
    made = report(project)
    assert [page.name for page in made.pages] == ["batch-part0.html", "batch-part1.html", "batch-part2.html"]
    text = made.run.read_text()
    assert "meters" in text
    assert made.picture.read_bytes()[:4] == b"\x89PNG"


def test_no_champion_and_no_such_batch_say_what_to_do(tmp_path: Path, project: Path) -> None:
    fresh = write_project(tmp_path / "fresh")
    with pytest.raises(RegistryError, match="flowguard train"):
        score(fresh)
    with pytest.raises(SourceError, match="part1"):
        score(project, batch="part11")


def test_a_batch_whose_column_changed_its_type_is_refused_whole(project: Path) -> None:
    table = meters(50, 41)
    put(project, "wrong.parquet", table.set_column(3, "power", pa.array(["high"] * 50)))
    with pytest.raises((SchemaError, SourceError), match="power"):
        score(project, batch="wrong")
    assert not (folder_of(project) / "scores/batch=wrong").exists() or not list(
        (folder_of(project) / "scores/batch=wrong").rglob("*.parquet")
    )


@pytest.mark.e2e
@pytest.mark.parametrize(
    "change",
    [
        ("model: {layers: 2, hidden: [16], bins: 4", "model: {family: realnvp, layers: 2, hidden: [16]"),
        ("model: {layers: 2, hidden: [16], bins: 4", "model: {transformer: affine, layers: 1, hidden: [16]"),
        ("policy:", "score: largest\npolicy:"),
        ("policy:", "score: log_likelihood\npolicy:"),
    ],
    ids=["realnvp", "affine", "largest", "log_likelihood"],
)
def test_every_family_and_score_goes_the_whole_way(tmp_path: Path, change: tuple[str, str]) -> None:
    path = write_project(tmp_path / "project", PIPELINE.replace(*change))
    trained = train(path)
    results = score(path)
    assert sum(result.manifest.scored for result in results) == 3000
    found = flagged(path)
    assert 0 < found.total < 150
    first = found.records[0].reasons[0]
    assert first.contrast is not None
    assert math.isnan(first.share) is ("realnvp" in change[1]), "exact shares where there is a column order"
    bundle = load(path.parents[1] / "runs/.bundles" / trained.registered.version.digest)
    assert bundle.score_name == {
        "score: largest\npolicy:": "largest",
        "score: log_likelihood\npolicy:": "log_likelihood",
    }.get(change[1], "mixed")
    report(path)


def test_columns_can_be_left_to_the_data_and_batches_to_the_day(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project")
    shutil.rmtree(tmp_path / "project" / "data")
    (tmp_path / "project" / "data").mkdir()
    table = meters(2400, 3)
    minutes = 10 * np.arange(2400).astype("timedelta64[m]")
    table = table.append_column("at", pa.array(np.datetime64("2026-01-01", "us") + minutes))
    put(path, "all.parquet", table)
    path.write_text(
        "name: meters\nsource: {path: data/all.parquet, batch: day, time: at, key: [id]}\ncolumns: infer\n"
        "split: {until: 2026-01-13, train: 0.5, validation: 0.1, calibration: 0.3, holdout: 0.1}\n"
        "model: {layers: 1, hidden: [8], bins: 4, epochs: 1}\npolicy: {false_alarm_rate: 0.02}\n"
    )
    trained = train(path)
    assert sum(trained.dealt.records.values()) == 12 * 144
    results = score(path, since=None, until=None)
    assert [result.manifest.batch for result in results][:2] == ["2026-01-01", "2026-01-02"]
    assert sum(result.manifest.read for result in results) == 2400
    assert len(report(path).groups) == 1
