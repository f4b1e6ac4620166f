"""Policies in a pipeline file, from training to flags: cells, false discovery rates, budgets, and the journal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.errors import PipelineError, StoreError
from flowguard.spec import load_pipeline
from flowguard.stages.flagged import flagged
from flowguard.stages.models import journal, promote
from flowguard.stages.report import report
from flowguard.stages.score import ScoredBatch, detector_of, score
from flowguard.stages.train import train
from flowguard.stages.workspace import Workspace, store_in
from tests.conftest import PIPELINE, meters, write_project

RATE = "policy: {false_alarm_rate: 0.01}"


def project(folder: Path, policy: str) -> Path:
    assert RATE in PIPELINE
    return write_project(folder / "project", PIPELINE.replace(RATE, f"policy: {policy}"))


def trained(folder: Path, policy: str) -> Path:
    """A trained pipeline to which a batch with 20 odd records is then delivered."""
    path = project(folder, policy)
    train(path)
    odd = meters(400, 9)
    power = odd["power"].to_numpy(zero_copy_only=False).copy()
    power[:20] = 400.0 + np.arange(20)
    odd = odd.set_column(odd.column_names.index("power"), "power", pa.array(power))
    pq.write_table(odd, path.parents[1] / "data/odd.parquet")
    return path


def scores_of(path: Path, result: ScoredBatch) -> pa.Table:
    folder = path.parents[1] / "runs" / "meters"
    return pq.read_table(folder / result.manifest.files["scores"], partitioning=None)


def by_batch(results: list[ScoredBatch]) -> dict[str, ScoredBatch]:
    return {result.manifest.batch: result for result in results}


# -- cells -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def per_site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ScoredBatch]]:
    path = project(tmp_path_factory.mktemp("cells"), "{false_alarm_rate: 0.05, per: [site]}")
    calibrated = train(path).calibrated
    assert calibrated is not None
    assert set(calibrated.cells) == set(calibrated.sizes)
    assert all(check.asked == 0.05 for check in calibrated.cells.values())
    return path, score(path)


def test_each_value_is_calibrated_by_itself_and_the_cell_is_in_the_output(
    per_site: tuple[Path, list[ScoredBatch]],
) -> None:
    path, results = per_site
    detector = Workspace.open(path)
    sites = {f"site={name}" for name in set(meters(1000, 0)["site"].to_pylist())}
    for result in results:
        table = scores_of(path, result)
        assert set(table["group"].to_pylist()) == sites
        assert set(result.manifest.cells) == sites
        counts = result.manifest.cells.values()
        assert sum(scored for scored, _ in counts) == result.manifest.scored == table.num_rows
        assert sum(few for _, few in counts) == result.manifest.flagged
        flags, p_value = (table[name].to_numpy(zero_copy_only=False) for name in ("flag", "p_value"))
        assert np.array_equal(flags, p_value <= 0.05)
    assert detector.pipeline.groups == ("site",)


def test_the_page_tells_the_rate_of_every_cell(per_site: tuple[Path, list[ScoredBatch]]) -> None:
    path, _ = per_site
    made = report(path)
    names = [line.name for line in made.groups]
    assert any(name.startswith("site=") for name in names)
    assert "site=" in made.run.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("{fdr: 0.05, budget: 3}", "one of false_alarm_rate, fdr and budget"),
        ("{pooled: true}", "`pooled` without `fdr`"),
        ("{per: [hour]}", "a category, boolean or integer of columns.context"),
        ("{per: [nothing]}", "'nothing'"),
        ("{budget: 0}", "expected a number at least 1"),
        ("{fdr: 0.05, extrapolate: true}", "`extrapolate` with `fdr`"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_with_the_key(tmp_path: Path, policy: str, said: str) -> None:
    path = project(tmp_path, policy)
    with pytest.raises(PipelineError, match="policy") as caught:
        load_pipeline(path)
    assert said in str(caught.value)


# -- by the batch ------------------------------------------------------------------------------------------------------


@pytest.mark.e2e
def test_a_false_discovery_rate_is_decided_on_the_whole_batch(tmp_path: Path) -> None:
    path = trained(tmp_path, "{fdr: 0.2}")
    results = by_batch(score(path))
    odd = results["odd"].manifest
    assert odd.flagged >= 20
    assert odd.policy == {"fdr": 0.2, "pooled": False}
    assert "at most 20 %" in odd.guarantee
    table = scores_of(path, results["odd"])
    flags, p_value = (table[name].to_numpy(zero_copy_only=False) for name in ("flag", "p_value"))
    assert np.array_equal(flags, p_value <= odd.level)
    assert 0 < odd.level < 0.2
    assert sum(results[f"part{i}"].manifest.flagged for i in range(3)) <= 10
    reasons = flagged(path, batch="odd", top=100)
    assert all(record.reasons[0].column == "power" for record in reasons.records[:20])
    page = report(path).run.read_text(encoding="utf-8")
    assert "false discovery rate 20 % per batch" in page
    assert "Hold-out, p-values up to 0.05" in page, "of the flagged share nothing was asked"


@pytest.mark.e2e
def test_a_budget_flags_so_many_of_each_batch_and_no_more(tmp_path: Path) -> None:
    path = trained(tmp_path, "{budget: 7}")
    for result in score(path):
        table = scores_of(path, result)
        flags, scores = (table[name].to_numpy(zero_copy_only=False) for name in ("flag", "score"))
        assert flags.sum() == result.manifest.flagged == 7
        assert scores[flags].min() >= scores[~flags].max()
        assert "No error rate is promised" in result.manifest.guarantee


@pytest.mark.e2e
def test_a_pooled_rate_is_spent_once_a_batch_and_survives_a_kill(tmp_path: Path) -> None:
    path = trained(tmp_path, "{fdr: 0.2, pooled: true}")
    first = score(path, batch="odd")[0].manifest
    assert first.history == {"t": 1, "discoveries": 0}
    # Killed after the decision and before the manifest: the budget is spent, the batch not scored.
    code = (
        "import os, sys; from flowguard.stages import score\n"
        "score.write_manifest = lambda *given: os.kill(os.getpid(), 9)\n"
        f"score.score({str(path)!r}, batch='part0')"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=300)
    assert killed.returncode == -9, killed.stderr.decode()
    results = by_batch(score(path))
    histories = {name: result.manifest.history for name, result in results.items()}
    assert histories["part0"] == {"t": 2, "discoveries": first.flagged}
    assert sorted(history["t"] for history in histories.values() if history) == [2, 3, 4]
    spent = store_in(path.parents[1] / "runs").budgets
    (key,) = {f"version 1, {first.rule.words}"}
    assert [one.batch for one in spent.of("meters", key)][:2] == ["odd", "part0"]
    again = score(path, batch="odd", force=True)[0].manifest
    assert (again.history, again.level, again.flagged) == (first.history, first.level, first.flagged)
    for result in results.values():
        table = scores_of(path, result)
        assert int(table["flag"].to_numpy(zero_copy_only=False).sum()) == result.manifest.flagged


@pytest.mark.e2e
def test_what_a_calibration_cannot_reach_is_said_in_the_batch(tmp_path: Path) -> None:
    path = trained(tmp_path, "{fdr: 0.01, pooled: true}")
    manifest = score(path, batch="part0")[0].manifest
    assert manifest.flagged == 0
    assert manifest.level == 0.0
    assert manifest.policy == {"fdr": 0.01, "pooled": True, "horizon": 1000}, "sealed with the version"
    assert manifest.note is not None
    assert "calibration records are needed" in manifest.note


# -- beyond the ranks --------------------------------------------------------------------------------------------------


@pytest.mark.e2e
def test_a_level_below_the_ranks_rests_on_a_tail_that_is_told_and_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained(tmp_path, "{false_alarm_rate: 0.0005, extrapolate: true}")
    version = Workspace.open(path).registry.resolve("meters", 1)
    assert {"tail_shape", "tail_scale", "tail_threshold", "tail_exceedances", "tail_goodness_of_fit"} <= set(
        version.metrics
    )
    odd = by_batch(score(path))["odd"]
    assert "if the model of the tail holds" in odd.manifest.guarantee
    assert odd.manifest.policy == {"false_alarm_rate": 0.0005, "extrapolate": True}
    table = scores_of(path, odd)
    flags, p_value, beyond = (
        table[name].to_numpy(zero_copy_only=False) for name in ("flag", "p_value", "extrapolated")
    )
    assert flags.sum() == odd.manifest.flagged >= 20
    assert np.array_equal(flags, p_value <= 0.0005)
    assert beyond[flags].all()
    assert not beyond[p_value > 0.01].any()
    calibration = detector_of(Workspace.open(path), version).calibration
    assert calibration is not None
    assert np.array_equal(flags, table["score"].to_numpy() > calibration.threshold)
    page = (path.parents[1] / "runs/meters/reports/batch-odd.html") if report(path).pages else path
    text = page.read_text(encoding="utf-8")
    assert "extrapolated</span>" in text
    assert "if the model of the tail holds" in text
    from flowguard.cli.train import tell_trained

    path.write_text(path.read_text().replace("0.0005", "0.0006"))
    tell_trained(train(path))
    assert "Tail, for p-values below that level: shape" in capsys.readouterr().out


# -- who promoted ------------------------------------------------------------------------------------------------------


@pytest.mark.e2e
def test_the_journal_tells_who_made_which_version_the_champion_and_why(tmp_path: Path) -> None:
    path = project(tmp_path, "{false_alarm_rate: 0.05}")
    runs = path.parents[1] / "runs"
    train(path)
    path.write_text(path.read_text().replace("false_alarm_rate: 0.05", "false_alarm_rate: 0.1"))
    train(path)
    promote(runs, "meters", 2, who="ada", why="fewer misses")
    told = [(one.alias, one.from_version, one.to_version, one.who, one.why) for one in journal(runs, "meters")]
    assert told[0][:3] == ("champion", None, 1)
    assert told[1][:3] == ("challenger", None, 2)
    assert ("champion", 1, 2, "ada", "fewer misses") in told
    assert told[-1][:3] == ("challenger", 2, None)
    with pytest.raises(StoreError, match="ada"):
        promote(runs, "meters", 1, who="bob", expected=1)
    Workspace.open(path).registry.set_alias("meters", "champion", 1)
    promote(runs, "meters", 2, who="ada")
    why = [one.why for one in journal(runs, "meters") if one.alias == "champion"]
    assert why[-2:] == ["found changed outside flowguard", "promoted"]
