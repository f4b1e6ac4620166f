"""The flows, run for real in Prefect's in-process mode: they do what the commands do, and leave artifacts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows.local import patience, settle  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect.client.orchestration import get_client
from prefect.events import Event, emit_event
from prefect.testing.utilities import prefect_test_harness

from flowguard.errors import InputError, PipelineError
from flowguard.stages.drift import drift
from flowguard.stages.flagged import flagged
from flowguard.stages.manifest import latest
from flowguard.stages.models import journal, models
from flowguard.stages.verdicts import decide
from flowguard.stages.workspace import Workspace
from flows.artifacts import plain
from flows.enqueue import enqueue
from flows.monitor import monitor
from flows.prune import prune
from flows.recalibrate import recalibrate
from flows.score import _follow, score
from flows.serve import deployments, offer
from flows.train import train
from tests.conftest import meters, write_project
from tests.notify.receivers import webhook
from tests.stages.test_drift import DAYS, a_day

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def prefect_in_process() -> Iterator[None]:
    """One server for all tests here: starting it takes longer than any of them."""
    with prefect_test_harness(server_startup_timeout=120):
        yield
        settle()


def test_a_flow_trains_and_another_scores_with_the_champion(project: Path) -> None:
    # The same records and settings make no new version, other settings do.
    path = str(project)
    assert train(path).registered.known
    project.write_text(project.read_text(encoding="utf-8").replace("epochs: 3", "epochs: 1"), encoding="utf-8")
    trained = train(path)
    assert not trained.registered.known
    assert (trained.registered.version.version, trained.registered.version.aliases) == (2, ("challenger",))

    results = score(path)
    assert [result.manifest.batch for result in results] == ["part0", "part1", "part2"]
    assert all(result.fresh for result in results)
    assert score(path) == []
    manifests = latest(Workspace.open(project).folder).values()
    assert all(manifest.run for manifest in manifests), "the manifest names the Prefect run"
    assert {manifest.version for manifest in manifests} == {1}

    # A new file is a new batch; a file delivered again with other content is scored again.
    data = project.parents[1] / "data"
    pq.write_table(meters(500, 9), data / "part9.parquet")
    pq.write_table(meters(700, 1), data / "part1.parquet")
    assert [result.manifest.batch for result in score(path)] == ["part1", "part9"]

    with get_client(sync_client=True) as client:
        keys = {artifact.key for artifact in client.read_artifacts()}
        runs = {run.name for run in client.read_flow_runs()}
    assert {"meters-version", "meters-scored", "meters-strangest"} <= keys
    strangest = artifacts("meters-strangest")[0]
    assert strangest.startswith("# The strangest of ")
    assert "| record | batch | p-value | reasons |" in strangest
    assert "expected" in strangest
    assert {"train meters", "score meters"} <= runs


def planted(project: Path, then: str) -> str:
    """The pipeline file, with `drift.then` and 60 more batches, of which the later half is 3 kW up."""
    project.write_text(project.read_text(encoding="utf-8") + f"drift: {{then: {then}}}\n", encoding="utf-8")
    for number in range(3, 63):
        table = meters(40, number)
        if number >= 35:
            table = table.set_column(3, "power", pc.add(table["power"], 3.0))
        pq.write_table(table, project.parents[1] / "data" / f"then{number:02d}.parquet")
    return str(project)


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was emitted, in order; it reaches the server as well."""
    kept: list[dict[str, Any]] = []

    def emit(event: str, resource: dict[str, str], **more: Any) -> Event | None:
        kept.append({"event": event, "resource": resource, **more})
        return emit_event(event=event, resource=resource, **more)

    monkeypatch.setattr("flows.score.emit_event", emit)
    monkeypatch.setattr("flows.monitor.emit_event", emit)
    monkeypatch.setattr("flows.gate.emit_event", emit)
    return kept


def artifacts(key: str) -> list[str]:
    """What was shown under this key, oldest first."""
    with get_client(sync_client=True) as client:
        found = [one for one in client.read_artifacts() if one.key == key]
    return [str(one.data) for one in sorted(found, key=lambda one: one.created)]


def test_a_batch_that_should_be_there_is_missed_with_an_event(project: Path, emitted: list[dict[str, Any]]) -> None:
    with project.open("a", encoding="utf-8") as stream:
        stream.write('schedule: {cron: "0 6 * * *"}\n')
    assert not monitor(str(project)).freshness.late, "its files are new"
    assert emitted == []
    for file in (project.parents[1] / "data").iterdir():
        os.utime(file, (1.7e9, 1.7e9))
    found = monitor(str(project))
    assert found.drifted is None
    (event,) = emitted
    assert (event["event"], event["resource"]["prefect.resource.id"]) == ("flowguard.late", "flowguard.pipeline.meters")
    assert event["payload"]["sentence"].startswith("No file was written since")
    page = artifacts("meters-monitor")[-1]
    assert "**Late.** No file was written since" in page
    assert "3 wait to be scored: part0, part1, part2" in page
    assert "No batch of meters has been scored by version 1. Score some first" in page


def test_people_are_told_by_the_runs_and_of_a_run_that_failed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as hook:
        monkeypatch.setenv("FLOWGUARD_NOTIFY", hook.json_url)
        score(str(project))
        [told] = hook.messages
        assert told["title"].endswith("records flagged in 3 batches")
        with project.open("a", encoding="utf-8") as stream:
            stream.write('schedule: {cron: "0 6 * * *"}\n')
        for file in (project.parents[1] / "data").iterdir():
            os.utime(file, (1.7e9, 1.7e9))
        monitor(str(project))
        assert hook.messages[-1]["title"] == "meters: the data is late"
        with pytest.raises(InputError):
            score(str(project), batch="nosuch")
        failed = hook.messages[-1]
        assert (failed["title"], failed["type"]) == ("meters: score meters nosuch failed", "failure")
        assert "nosuch" in failed["message"]
        hook.status = 500
        project.write_text("name: [", encoding="utf-8")
        with pytest.raises(PipelineError):
            monitor(str(project))
        assert len(hook.messages) == 3, "an address that is down leaves the error of the run as it is"


def test_a_deployed_run_has_a_training_started_where_trainings_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How Prefect lets a run be looked at from without: as one of the deployment of this name.
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__NAME", "meters")
    told = _follow(str(project), "meters", 1, "train", since=None)
    assert told == "No training was started: the server has no deployment train/meters. Run `flowguard deploy`."
    with get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow_from_name("train"), "meters", parameters={"pipeline": "m.yaml"})
        assert _follow(str(project), "meters", 1, "train", since=None) == "A training was started: train/meters."
        (run,) = [one for one in client.read_flow_runs() if one.deployment_id is not None]
    assert run.state is not None
    assert run.state.is_scheduled()
    assert run.parameters == {"pipeline": "m.yaml"}


def test_a_cell_is_text_in_an_artifact_whatever_it_holds() -> None:
    shown = plain("<script>a|b</script> [x](http://evil)\nc & d")
    assert shown == "&lt;script&gt;a\\|b&lt;/script&gt; \\[x\\]\\(http://evil\\) c &amp; d"


def test_an_empty_batch_is_told_once_and_drift_is_summed_up(project: Path, emitted: list[dict[str, Any]]) -> None:
    pq.write_table(meters(0, 9), project.parents[1] / "data" / "part9.parquet")
    for _ in range(2):
        score(str(project))
    assert [(one["event"], one["payload"]["batch"]) for one in emitted] == [("flowguard.empty", "part9")]
    found = monitor(str(project))
    assert found.drifted is not None
    assert "no schedule" in found.freshness.sentence
    assert "drift under version 1: 0 alarms in" in artifacts("meters-monitor")[-1]


def test_recalibrating_makes_a_challenger_and_enqueueing_again_is_possible(project: Path) -> None:
    path = str(project)
    text = project.read_text(encoding="utf-8")
    project.write_text(text.replace("false_alarm_rate: 0.01", "false_alarm_rate: 0.02"), encoding="utf-8")
    made = recalibrate(path)
    assert (made.registered.version.version, made.registered.version.aliases) == (2, ("challenger",))
    assert "weights of meters version 1" in artifacts("meters-version")[-1]
    score(path)
    assert enqueue(path).batches == (), "scoring has put them there"
    assert enqueue(path, batches=["part1"], again=True).batches == ("part1",)


def test_what_is_old_is_pruned_and_what_goes_and_stays_is_told(project: Path) -> None:
    path = str(project)
    score(path)
    assert prune(path).removed == (), "the file asks for nothing"
    text = project.read_text(encoding="utf-8")
    project.write_text(text + "retention: {scores: 400}\n", encoding="utf-8")
    folder = project.parents[1] / "runs/meters"
    for batch in ("part0", "part1"):
        manifest = folder / f"manifests/batch={batch}/version=1.json"
        manifest.write_text(re.sub(r'"started": "\d+-', '"started": "2020-', manifest.read_text()))
    decide(path, flagged(path, batch="part1", top=1).records[0].record_id, "confirmed", who="ada")
    told = prune(path, dry_run=True)
    assert (folder / latest(folder)["part0"].files["scores"]).exists()
    done = prune(path)
    assert [one.name for one in done.removed] == [one.name for one in told.removed] == ["part0"]
    page = artifacts("meters-pruned")[-1]
    assert "retention.scores: 400" in page
    assert "a verdict refers to it" in page
    assert score(path) == []


def test_a_failed_gate_is_told_as_an_event_to_people_and_on_the_page_of_the_training(
    project: Path, emitted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as hook:
        monkeypatch.setenv("FLOWGUARD_NOTIFY", hook.json_url)
        _gates(project, emitted)
        assert [one["title"] for one in hook.messages] == [
            "meters: version 2 failed its gate",
            "meters: version 3 scores from the next run on",
        ]
        assert "less likely than under the champion" in hook.messages[0]["message"]


def _gates(project: Path, emitted: list[dict[str, Any]]) -> None:
    project.write_text(f"{project.read_text(encoding='utf-8')}notify: {{every: 0m}}\n", encoding="utf-8")
    text = project.read_text(encoding="utf-8")
    assert train(str(project)).gated is None, "the champion has nothing to show"
    project.write_text(text.replace("epochs: 3", "epochs: 1") + "promote: {by: gate}\n", encoding="utf-8")
    trained = train(str(project))
    assert trained.gated is not None
    assert trained.registered.version.tags["gate"] == "failed"
    (event,) = emitted
    assert (event["event"], event["resource"]["prefect.resource.id"]) == ("flowguard.gate", "flowguard.pipeline.meters")
    assert event["payload"] == {
        "version": 2,
        "champion": 1,
        "failed": ["likelihood"],
        "sentence": trained.gated.sentence,
    }
    page = artifacts("meters-version")[-1]
    assert "- gate: **failed**." in page
    assert "- likelihood: failed. 283 records that neither version knows are" in page
    assert "- verdicts: cannot say. " in page
    registry = Workspace.open(project).registry
    assert registry.resolve("meters").version == 1
    project.write_text(text.replace("epochs: 3", "epochs: 8") + "promote: {by: gate}\n", encoding="utf-8")
    assert train(str(project)).registered.version.aliases == ("champion",)
    assert "- gate: **passed**. The gate made it the champion." in artifacts("meters-version")[-1]
    assert len(emitted) == 1, "what passes is no event"


def test_a_training_that_drift_brought_about_passes_the_gate_too(project: Path, emitted: list[dict[str, Any]]) -> None:
    for number in range(3, 6):
        table = meters(1000, number)
        shifted = table.set_column(3, "power", pc.add(table["power"], 3.0))
        pq.write_table(shifted, project.parents[1] / "data" / f"then{number}.parquet")
    with project.open("a", encoding="utf-8") as stream:
        stream.write("promote: {by: gate}\n")
    told = _follow(str(project), "meters", 1, "train", since=None)
    assert told.startswith("meters version 2 (champion) was made. meters version 2 passed the gate against version 1.")
    assert told.endswith("The gate made it the champion.")
    assert emitted == []


def test_the_name_of_a_run_says_what_was_asked_for(project: Path) -> None:
    score(str(project), batch="part1")
    with get_client(sync_client=True) as client:
        names = {run.name for run in client.read_flow_runs()}
    assert "score meters part1" in names


def test_a_run_is_stopped_after_its_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (score.timeout_seconds, train.timeout_seconds) == (6 * 3600, 24 * 3600)
    monkeypatch.setenv("FLOWGUARD_HOURS", "1.5")
    assert patience(24) == 5400


def drift_artifacts() -> list[str]:
    return artifacts("meters-drift")


@pytest.mark.e2e
def test_an_alarm_is_told_as_an_event_and_an_artifact_and_a_challenger_follows_where_asked_for(
    project: Path, emitted: list[dict[str, Any]]
) -> None:
    before = len(drift_artifacts())
    results = score(planted(project, "recalibrate"))
    alarms = [result.drift for result in results if result.drift is not None and result.drift.alarms]
    assert alarms, "the power is 3 kW up"
    assert [one["payload"]["batch"] for one in emitted] == [record.batch for record in alarms]
    first = emitted[0]
    assert first["event"] == "flowguard.drift"
    assert first["resource"]["prefect.resource.id"] == "flowguard.pipeline.meters"
    assert alarms[0].drift is not None
    assert first["payload"] == {
        "batch": alarms[0].batch,
        "version": 1,
        "kind": alarms[0].drift.kind,
        "sentence": alarms[0].drift.sentence,
        "channels": list(alarms[0].alarms),
    }
    told = drift_artifacts()[before:]
    assert len(told) == 1
    assert alarms[0].drift.sentence in told[0]
    registry = Workspace.open(project).registry
    challenger = registry.resolve("meters", "challenger")
    assert challenger.version == 2
    assert registry.resolve("meters", "champion").version == 1, "nothing is promoted by itself"


@pytest.mark.e2e
def test_drift_a_challenger_the_gate_and_the_next_run_scores_with_it(
    project: Path, emitted: list[dict[str, Any]]
) -> None:
    """Nobody touches it: an alarm makes a challenger, which passes the gate and scores from the next run on."""
    path = planted(project, "recalibrate")
    with project.open("a", encoding="utf-8") as stream:
        stream.write("promote: {by: gate}\n")
    results = score(path)
    assert {one.manifest.version for one in results} == {1}, "a run never mixes two versions"
    assert {one["event"] for one in emitted} == {"flowguard.drift"}
    told = drift_artifacts()[-1]
    assert "meters version 2 (champion) was made. meters version 2 passed the gate against version 1." in told
    assert "The gate made it the champion." in told
    last = [one for one in journal(project.parents[1] / "runs", "meters") if one.alias == "champion"][-1]
    assert (last.from_version, last.to_version, last.who) == (1, 2, "gate")
    pq.write_table(meters(40, 99), project.parents[1] / "data" / "then99.parquet")
    (next_day,) = score(path, batch="then99")
    assert next_day.manifest.version == 2


@pytest.mark.e2e
@pytest.mark.parametrize("rate", ["0.01", "0.0005"], ids=["enough", "too few records"])
def test_a_challenger_is_calibrated_on_the_days_after_the_split_where_they_suffice(
    tmp_path: Path, rate: str, emitted: list[dict[str, Any]]
) -> None:
    text = DAYS.replace("false_alarm_rate: 0.01", f"false_alarm_rate: {rate}") + "drift: {then: recalibrate}\n"
    path = write_project(tmp_path / "project", text)
    folder = path.parents[1] / "data"
    for file in folder.glob("*.parquet"):
        file.unlink()
    for number in range(125):
        pq.write_table(a_day(number, gaps=number >= 100), folder / f"{number:03d}.parquet")
    train(str(path))
    score(str(path), since=date(2026, 4, 1))
    assert emitted
    told = drift_artifacts()[-1]
    versions = models(path.parents[1] / "runs", "meters")
    if rate == "0.01":
        assert [one.version for one in versions] == [2, 1]
        assert versions[0].tags["calibrated_from"] >= "2026-04-01"
        assert "meters version 2 (challenger) was made" in told
    else:
        assert [one.version for one in versions] == [1]
        assert "was not recalibrated: false_alarm_rate 0.0005 needs 1,999 calibration records" in told


@pytest.mark.e2e
def test_an_alarm_is_kept_and_not_told_where_nothing_is_asked_for(project: Path, emitted: list[dict[str, Any]]) -> None:
    before = len(drift_artifacts())
    results = score(planted(project, "nothing"))
    assert any(result.drift is not None and result.drift.alarms for result in results)
    assert drift(project).alarms, "the store has it all the same"
    assert emitted == []
    assert len(drift_artifacts()) == before
    assert [version.version for version in models(project.parents[1] / "runs", "meters")] == [1]


@pytest.mark.e2e
@pytest.mark.parametrize("module", sorted(path.stem for path in (ROOT / "flows").glob("[!_]*.py")))
def test_prefect_has_its_defaults_whichever_flow_is_loaded_first(module: str) -> None:
    # A deployed run is a process of its own that loads the flow's module, as `flows.score.score`.
    code = (
        f"import sys, importlib; importlib.import_module('flows.{module}'); "
        "from prefect.settings import get_current_settings as get; "
        "print('prefect' in sys.modules, get().server.ephemeral.startup_timeout_seconds, get().logging.level)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert said.stdout.split() == ["True", "300", "WARNING"], said.stdout


def test_a_wrong_pipeline_fails_at_once_without_retries(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project")
    path.write_text(path.read_text().replace("features:", "featurs:"), encoding="utf-8")
    with pytest.raises(PipelineError, match="featurs"):
        train(str(path))


def test_deployments_carry_the_schedule_of_the_pipeline_file(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project")
    with path.open("a", encoding="utf-8") as stream:
        stream.write("schedule: {cron: '30 5 * * 1-5', timezone: Europe/Berlin}\n")
    scoring, training = deployments(path)
    (schedule,) = scoring.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("30 5 * * 1-5", "Europe/Berlin")
    assert training.schedules in (None, [])
    assert scoring.parameters == {"pipeline": str(path)}
    assert scoring.entrypoint == "flows.score.score"


@pytest.mark.parametrize(
    ("files", "remedy"), [([], "No pipeline file is named"), (["absent.yaml"], "absent.yaml: there is no such file")]
)
def test_serving_says_what_is_missing(files: list[str], remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        offer(files)
