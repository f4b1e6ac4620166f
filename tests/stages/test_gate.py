"""The gate, on real projects: worse versions fail, good ones pass, and who promotes what is kept."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from flowguard.cli.main import app
from flowguard.errors import GateError, RegistryError
from flowguard.registry import Version
from flowguard.spec import load_pipeline
from flowguard.spec.promote import PromoteSection
from flowguard.stages.dealing import Dealing
from flowguard.stages.gate.check import Check, Gated, recorded
from flowguard.stages.gate.checks import false_alarms, scores
from flowguard.stages.gate.gate import admit, gate
from flowguard.stages.gate.held_out import evaluate
from flowguard.stages.models import journal, promote
from flowguard.stages.recalibrate import recalibrate
from flowguard.stages.score import detector_of, score
from flowguard.stages.train import Trained, train
from flowguard.stages.verdicts import decide
from flowguard.stages.version import write_version
from flowguard.stages.workspace import Workspace
from flowguard.tables import part_of
from tests.conftest import PIPELINE, meters, write_project


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def copy(path: Path, to: Path) -> Path:
    shutil.copytree(path.parents[1], to / "project")
    return to / "project/pipelines/meters.yaml"


def found(gated: Gated | None) -> dict[str, Check]:
    assert gated is not None
    return {one.name: one for one in gated.checks}


def answers(gated: Gated | None) -> dict[str, str]:
    return {name: one.answer for name, one in found(gated).items()}


@pytest.fixture(scope="module")
def worse(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """A challenger that was trained for one epoch."""
    path = copy(trained_project / "pipelines/meters.yaml", tmp_path_factory.mktemp("worse"))
    change(path, "epochs: 3", "epochs: 1")
    return path, train(path)


# -- the outcome -------------------------------------------------------------------------------------------------------


def test_the_first_version_has_nothing_to_show_and_a_worse_one_fails(worse: tuple[Path, Trained]) -> None:
    path, trained = worse
    gated = trained.gated
    assert gated is not None
    assert admit(path, 1) is None
    assert (gated.outcome, gated.champion, gated.failed, gated.promoted) == ("failed", 1, ["likelihood"], False)
    assert answers(gated) == {
        "scores": "passed",
        "rate": "passed",
        "likelihood": "failed",
        "verdicts": "unknown",
        "batch": "told",
    }
    likelihood = found(gated)["likelihood"]
    assert likelihood.figure is not None
    assert likelihood.figure < -0.5
    assert likelihood.limit == -0.05
    assert "nats less likely than under the champion" in likelihood.sentence
    assert "to the last bit" in found(gated)["scores"].sentence, "the sealed hold-out likelihood is reproduced"
    assert "Nothing can be said of: verdicts." in gated.sentence


def test_what_was_found_is_kept_with_the_version_and_shown(worse: tuple[Path, Trained], tmp_path: Path) -> None:
    path, trained = worse
    tags = trained.registered.version.tags
    assert (tags["gate"], tags["gate.champion"]) == ("failed", "1")
    assert trained.gated is not None
    kept = recorded(tags)
    assert kept is not None
    assert [(one.name, one.answer, one.sentence) for one in kept.checks] == [
        (one.name, one.answer, one.sentence) for one in trained.gated.checks
    ]
    text = write_version(path, 2).read_text(encoding="utf-8")
    assert '<h2 id="gate">Gate <span class="tag alert">failed</span></h2>' in text
    assert found(trained.gated)["likelihood"].sentence in text
    assert "compared with version 1" in text
    assert 'id="gate"' not in write_version(path, 1).read_text(encoding="utf-8")
    listed = CliRunner().invoke(app, ["models", "meters", "--runs", str(path.parents[1] / "runs")])
    assert "gate" in listed.output
    assert "failed" in listed.output


def test_a_better_version_passes_and_a_recalibration_is_no_worse(worse: tuple[Path, Trained], tmp_path: Path) -> None:
    path = copy(worse[0], tmp_path)
    promote(path.parents[1] / "runs", "meters", 2, why="for a test", despite_gate=True)
    gated = gate(path, 1)
    assert (gated.outcome, gated.champion) == ("passed", 2)
    figure = found(gated)["likelihood"].figure
    assert figure is not None
    assert figure > 0.5
    change(path, "false_alarm_rate: 0.01", "false_alarm_rate: 0.05")
    again = admit(path, recalibrate(path).registered.version.version)
    assert again is not None
    assert again.outcome == "passed"
    assert found(again)["likelihood"].figure == 0, "the same weights"
    assert not again.promoted, "a person does"


def test_trained_on_other_data_it_fails_on_the_records_of_now(trained_project: Path, tmp_path: Path) -> None:
    """The data that it learned from was 3 kW up; it is delivered again as it should be."""
    path = copy(trained_project / "pipelines/meters.yaml", tmp_path)
    kept = {file: pq.read_table(file) for file in (path.parents[1] / "data").glob("*.parquet")}
    for file, table in kept.items():
        pq.write_table(table.set_column(3, "power", pc.add(table["power"], 3.0)), file)
    made = train(path)
    assert made.registered.version.version == 2
    for file, table in kept.items():
        pq.write_table(table, file)
    gated = gate(path)
    assert set(gated.failed) == {"rate", "likelihood"}
    rate = found(gated)["rate"]
    assert rate.figure is not None
    assert rate.limit is not None
    assert rate.figure > rate.limit > 0.01
    assert "where 1.00 % is asked" in rate.sentence
    assert "sealed" not in found(gated)["scores"].sentence, "the data is another by now"


def test_another_measure_is_not_compared_and_does_not_fail(trained_project: Path, tmp_path: Path) -> None:
    path = copy(trained_project / "pipelines/meters.yaml", tmp_path)
    change(path, "    flow: number\n", "")
    gated = train(path).gated
    assert gated is not None
    assert gated.outcome == "passed"
    assert found(gated)["likelihood"].answer == "unknown"
    assert found(gated)["likelihood"].sentence.startswith("Not comparable: other atoms, lattices or levels")
    change(path, "policy:", "promote: {needs: [rate, likelihood]}\npolicy:")
    assert gate(path).outcome == "undecided", "it is needed now, and it cannot say"


def test_a_hold_out_that_is_too_small_leaves_the_gate_undecided(tmp_path: Path) -> None:
    text = PIPELINE.replace("calibration: 0.3, holdout: 0.1", "calibration: 0.39, holdout: 0.01")
    path = write_project(tmp_path / "project", text)
    train(path)
    change(path, "epochs: 3", "epochs: 3, seed: 1")
    change(path, "policy:", "promote: {by: gate}\npolicy:")
    gated = train(path).gated
    assert gated is not None
    assert (gated.outcome, gated.promoted) == ("undecided", False)
    assert "too few to say" in found(gated)["rate"].sentence
    assert "Nothing can be said of: rate" in gated.sentence


def test_a_champion_whose_column_is_gone_cannot_be_compared(trained_project: Path, tmp_path: Path) -> None:
    path = copy(trained_project / "pipelines/meters.yaml", tmp_path)
    change(path, "    hour: {kind: cyclic, period: 24}\n", "")
    for file in (path.parents[1] / "data").glob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns("hour"), file)
    gated = train(path).gated
    assert found(gated)["likelihood"].sentence == (
        "Not comparable: the champion reads the column hour, which the data no longer has."
    )
    assert found(gated)["verdicts"].answer == "unknown"


# -- which records -----------------------------------------------------------------------------------------------------


def test_only_records_are_compared_that_neither_version_knows(trained_project: Path, tmp_path: Path) -> None:
    path = copy(trained_project / "pipelines/meters.yaml", tmp_path)
    change(path, "split: {", "split: {salt: anew, ")
    gated = train(path).gated
    table = pa.concat_tables([pq.read_table(file) for file in sorted((path.parents[1] / "data").glob("*.parquet"))])
    batch = table.combine_chunks().to_batches()[0]
    shares = load_pipeline(path).split.shares
    parts = [part_of(batch, unit=["id"], shares=shares, salt=salt) for salt in ("anew", "")]
    both = int(((parts[0] == "holdout") & (parts[1] == "holdout")).sum())
    assert 10 < both < 60
    assert found(gated)["likelihood"].sentence.startswith(f"{both} records that neither version knows")
    assert found(gated)["scores"].limit == int((parts[0] == "holdout").sum())


def test_what_a_version_knows_follows_from_how_it_was_made(trained_project: Path) -> None:
    workspace = Workspace.open(trained_project / "pipelines/meters.yaml")
    detector = detector_of(workspace, workspace.registry.resolve("meters", 1))
    when = pa.array([dt.date(2026, 1, 1)] * 500 + [dt.date(2026, 3, 1)] * 500)
    chunk = meters(1000, 5).append_column("day", when).combine_chunks().to_batches()[0]
    january = replace(Dealing.of(detector), until=dt.date(2026, 2, 1))
    held = part_of(chunk, unit=["id"], shares=january.shares) == "holdout"
    assert (january.unknown(chunk, "day") == (held | (np.arange(1000) >= 500))).all(), "later days are new to it"
    assert (january.unknown(chunk, None) == held).all()
    recalibrated = replace(january, recalibrated=True, period=(dt.date(2026, 2, 1), None))
    late = recalibrated.unknown(chunk, "day")
    assert (late[:500] == held[:500]).all(), "it was not trained on others"
    assert 0.15 < late[500:].mean() < 0.35, "of later days a quarter is held out, the rest calibrates"
    assert (recalibrated.held_out(chunk, "day") == late).all()


# -- single checks -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_project(
        tmp_path_factory.mktemp("grouped") / "project",
        PIPELINE.replace("{false_alarm_rate: 0.01}", "{false_alarm_rate: 0.05, per: site}"),
    )
    train(path)
    return path


def test_each_group_keeps_its_rate_by_itself(grouped: Path) -> None:
    workspace = Workspace.open(grouped)
    detector = detector_of(workspace, workspace.registry.resolve("meters", 1))
    held, asked = evaluate(workspace, detector, None), PromoteSection()
    good = false_alarms(detector, held, asked)
    assert good.answer == "passed"
    assert "of 283 held-out records are flagged, " in good.sentence
    assert good.sentence.endswith("In no group too many, of 2.")
    south = held.new.group == "site=south"
    odd = np.where(south & (np.cumsum(south) <= 30), 0.01, np.where(south, held.new.p_value, 1.0))
    bad = false_alarms(detector, replace(held, new=replace(held.new, p_value=odd)), asked)
    assert bad.answer == "failed"
    assert bad.sentence.startswith("site=south: 34 of 137 held-out records are flagged, 24.8 % where 5.00 % is asked")
    assert "site=north" not in bad.sentence
    hidden = false_alarms(replace(detector, redact=["site"]), replace(held, new=replace(held.new, p_value=odd)), asked)
    assert hidden.sentence.startswith("group 2: ")
    few = evaluate(workspace, detector, None)
    some = np.flatnonzero(south)[:10].tolist() + np.flatnonzero(~south).tolist()
    part = replace(few.new, **{name: getattr(few.new, name)[some] for name in vars(few.new)})
    told = false_alarms(detector, replace(few, new=part, unit=few.unit[some]), asked)
    assert told.sentence.endswith("In no group too many, of 2 of which 1 held too few records out to say.")


def test_a_group_that_flags_too_many_is_found_where_the_others_hide_it(grouped: Path) -> None:
    workspace = Workspace.open(grouped)
    detector = detector_of(workspace, workspace.registry.resolve("meters", 1))
    held = evaluate(workspace, detector, None)
    south = held.new.group == "site=south"
    odd = np.where(south & (np.cumsum(south) <= 22), 0.01, 1.0)
    found = false_alarms(detector, replace(held, new=replace(held.new, p_value=odd)), PromoteSection())
    assert found.answer == "failed"
    assert (
        "In all, 22 of 283 held-out records are flagged, 7.77 % where 5.00 % is asked: too many from" in found.sentence
    )


def test_a_score_that_is_no_number_and_one_that_the_champion_has_fail(trained_project: Path) -> None:
    workspace = Workspace.open(trained_project / "pipelines/meters.yaml")
    detector = detector_of(workspace, workspace.registry.resolve("meters", 1))
    held = evaluate(workspace, detector, detector)
    assert scores(detector, held).answer == "passed"
    assert held.old is not None
    assert held.common.all(), "a version knows none of its own hold-out"
    assert scores(detector, replace(held, nowhere=2)).sentence.startswith("The likelihood of 2 of 283")
    lost = held.new.score.copy()
    lost[:3] = np.nan
    found = scores(detector, replace(held, new=replace(held.new, score=lost)))
    assert (found.answer, found.sentence) == (
        "failed",
        "It cannot score 3 held-out records that the champion scores.",
    )
    other = replace(detector, provenance={**detector.provenance, "holdout_log_likelihood": -1.0})
    assert "and -1 were sealed with it" in scores(other, held).sentence


def test_a_bundle_that_is_not_the_one_registered_fails(worse: tuple[Path, Trained], tmp_path: Path) -> None:
    path = copy(worse[0], tmp_path)
    registry = Workspace.open(path).registry
    registry.note(registry.resolve("meters", 2), metrics={}, step=0, tags={"digest": "0" * 64})
    gated = gate(path)
    assert (gated.outcome, gated.failed) == ("failed", ["scores"])
    assert "is not the one registered" in gated.sentence
    assert "gate.likelihood" not in registry.resolve("meters", 2).tags, "what was found before it is gone"


# -- who promotes ------------------------------------------------------------------------------------------------------


def test_a_failed_gate_is_overruled_for_a_reason_alone(worse: tuple[Path, Trained], tmp_path: Path) -> None:
    path = copy(worse[0], tmp_path)
    runs = path.parents[1] / "runs"
    with pytest.raises(GateError, match=r"failed against version 1: 283 records.*--despite-gate --why REASON"):
        promote(runs, "meters", 2)
    with pytest.raises(GateError, match="say why"):
        promote(runs, "meters", 2, despite_gate=True)
    assert Workspace.open(path).registry.resolve("meters").version == 1
    refused = CliRunner().invoke(app, ["promote", "meters", "2", "--runs", str(runs)])
    assert refused.exit_code == 2
    assert "less likely than under the champion" in refused.stderr
    arguments = ["promote", "meters", "2", "--runs", str(runs), "--despite-gate", "--why", "it scores faster"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    last = [one for one in journal(runs, "meters") if one.alias == "champion"][-1]
    assert (last.to_version, last.why) == (2, "it scores faster (despite the gate: likelihood)")
    promote(runs, "meters", 1)  # a rollback to what never failed needs no word


def test_the_gate_promotes_where_the_file_says_so_and_not_again_after_a_rollback(
    trained_project: Path, tmp_path: Path
) -> None:
    path = copy(trained_project / "pipelines/meters.yaml", tmp_path)
    runs = path.parents[1] / "runs"
    change(path, "policy:", "promote: {by: gate}\npolicy:")
    change(path, "epochs: 3", "epochs: 8")
    made = train(path)
    assert made.gated is not None
    assert made.gated.promoted
    assert made.registered.version.aliases == ("champion",)
    last = [one for one in journal(runs, "meters") if one.alias == "champion"][-1]
    assert (last.to_version, last.who, last.why) == (2, "gate", "passed the gate against version 1")
    assert train(path).gated is None, "it is the champion"
    promote(runs, "meters", 1, who="ada", why="too many alarms")
    again = train(path)
    assert again.registered.known
    assert again.gated is not None
    assert (again.gated.outcome, again.gated.promoted) == ("passed", False)
    assert "not the challenger" in again.gated.note
    assert Workspace.open(path).registry.resolve("meters").version == 1
    change(path, "epochs: 8", "epochs: 1")
    failed = train(path).gated
    assert failed is not None
    assert (failed.outcome, failed.promoted) == ("failed", False)
    assert Workspace.open(path).registry.resolve("meters").version == 1


def test_a_person_who_promotes_in_the_meantime_is_first(
    trained_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy(trained_project / "pipelines/meters.yaml", tmp_path)
    runs = path.parents[1] / "runs"
    change(path, "epochs: 3", "epochs: 8")
    train(path)
    change(path, "epochs: 8", "epochs: 9")
    change(path, "policy:", "promote: {by: gate}\npolicy:")
    looked = gate

    def slow(*args: object, **options: object) -> Gated:
        found = looked(*args, **options)  # type: ignore[arg-type]
        promote(runs, "meters", 2, who="ada", why="I looked at it")
        return found

    monkeypatch.setattr("flowguard.stages.gate.gate.gate", slow)
    gated = train(path).gated
    assert gated is not None
    assert (gated.outcome, gated.promoted) == ("passed", False)
    assert "ada changed it from version 1 to version 2" in gated.note
    assert Workspace.open(path).registry.resolve("meters").version == 2


# -- verdicts and batches ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch with anomalies, flow without power; people confirmed 20, of which no version of this split was made."""
    path = copy(trained_project / "pipelines/meters.yaml", tmp_path_factory.mktemp("judged"))
    table = meters(600, 7)
    dealt = part_of(table.to_batches()[0], unit=["id"], shares=load_pipeline(path).split.shares)
    strange = np.concatenate([np.flatnonzero(dealt == part)[:20] for part in ("holdout", "train")])
    flow = np.array(table["flow"].to_numpy(zero_copy_only=False))
    flow[strange] = np.random.default_rng(0).uniform(150, 250, len(strange))
    pq.write_table(table.set_column(4, "flow", pa.array(flow)), path.parents[1] / "data/part7.parquet")
    score(path, batch="part7")
    for row in strange[:20].tolist():
        decide(path, str(7_000_000 + row), "confirmed", who="ada")
    return path


def test_confirmed_anomalies_have_to_rank_as_they_did(judged: Path, tmp_path: Path) -> None:
    path = copy(judged, tmp_path)
    change(path, "epochs: 3", "epochs: 8")
    good = train(path).gated
    assert found(good)["verdicts"].answer == "passed"
    assert found(good)["verdicts"].sentence.startswith("20 confirmed records rank above ordinary ones with an AUROC of")
    assert ", the champion 20." in found(good)["verdicts"].sentence
    assert "Of part7, scored last, it would flag" in found(good)["batch"].sentence
    assert found(good)["batch"].limit == 0.01
    # A model of power alone does not see what is wrong with the flow.
    change(path, "    flow: number\n", "")
    blind = train(path).gated
    assert blind is not None
    assert blind.failed == ["verdicts"], "its density is of other columns, and its rate holds"
    figure = found(blind)["verdicts"].figure
    assert figure is not None
    assert figure < -0.1


def test_records_that_a_version_was_made_of_are_no_proof(judged: Path, tmp_path: Path) -> None:
    path = copy(judged, tmp_path)
    table = meters(600, 7)
    dealt = part_of(table.to_batches()[0], unit=["id"], shares=load_pipeline(path).split.shares)
    for row in np.flatnonzero(dealt == "train")[:5].tolist():
        decide(path, str(7_000_000 + row), "confirmed", who="ada")
    change(path, "epochs: 3", "epochs: 2")
    gated = train(path).gated
    assert found(gated)["verdicts"].sentence.startswith("20 confirmed records rank"), "five more are dealt to training"


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_tells_and_leaves_with_0_only_if_it_passed(worse: tuple[Path, Trained], tmp_path: Path) -> None:
    path = copy(worse[0], tmp_path)
    failed = CliRunner().invoke(app, ["gate", str(path)])
    assert failed.exit_code == 1
    assert "Gate of version 2 against version 1: FAILED." in failed.output
    assert "  verdicts: cannot say. 0 confirmed records" in failed.output
    assert "flowguard promote meters 2 --despite-gate --why REASON" in failed.output
    passed = CliRunner().invoke(app, ["gate", str(path), "1", "--against", "2", "--json"])
    assert passed.exit_code == 0, passed.output
    document = json.loads(passed.stdout)
    assert (document["outcome"], document["champion"], document["version"]["version"]) == ("passed", 2, 1)
    assert [one["name"] for one in document["checks"]] == ["scores", "rate", "likelihood", "verdicts", "batch"]
    alone = CliRunner().invoke(app, ["gate", str(path), "champion", "--json"])
    assert json.loads(alone.stdout)["champion"] is None
    assert alone.exit_code == 0
    with pytest.raises(RegistryError, match="no version 9"):
        gate(path, 9)


def test_an_old_outcome_is_replaced_by_a_new_one(worse: tuple[Path, Trained], tmp_path: Path) -> None:
    path = copy(worse[0], tmp_path)
    gate(path, 2, against=2)
    version: Version = Workspace.open(path).registry.resolve("meters", 2)
    assert version.tags["gate"] == "passed"
    assert "gate.champion" not in version.tags
    assert version.tags["gate.likelihood"] == "unknown: There is no other champion to compare with."
