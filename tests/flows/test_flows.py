"""The flows, run for real in Prefect's in-process mode: they do what the commands do, and leave artifacts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flowguard.stages.manifest import latest
from flowguard.stages.workspace import Workspace
from tests.conftest import meters, write_project


@pytest.fixture(scope="module", autouse=True)
def prefect_in_process():  # type: ignore[no-untyped-def]
    with prefect_test_harness(server_startup_timeout=120):
        yield


def test_a_flow_trains_and_another_scores_with_its_champion(tmp_path: Path) -> None:
    from flows.score import score
    from flows.train import train

    path = write_project(tmp_path / "project")
    trained = train(str(path))
    assert trained.registered.version.aliases == ("champion",)
    assert not trained.registered.known
    again = train(str(path))
    assert again.registered.known
    assert again.registered.version.version == 1

    results = score(str(path))
    assert [result.manifest.batch for result in results] == ["part0", "part1", "part2"]
    assert all(result.fresh for result in results)
    assert score(str(path)) == []
    manifests = latest(Workspace.open(path).folder)
    assert all(manifest.run for manifest in manifests.values()), "the manifest names the Prefect run"

    # A new file is a new batch; a file delivered again with other content is scored again.
    data = tmp_path / "project" / "data"
    pq.write_table(meters(500, 9), data / "part9.parquet")
    pq.write_table(meters(700, 1), data / "part1.parquet")
    assert [result.manifest.batch for result in score(str(path))] == ["part1", "part9"]

    with get_client(sync_client=True) as client:
        keys = {artifact.key for artifact in client.read_artifacts()}
        runs = {run.name for run in client.read_flow_runs()}
    assert {"meters-version", "meters-scored"} <= keys
    assert {"train meters", "score meters"} <= runs


def test_a_wrong_pipeline_fails_at_once_without_retries(tmp_path: Path) -> None:
    from flowguard.errors import PipelineError
    from flows.train import train

    path = write_project(tmp_path / "project")
    path.write_text(path.read_text().replace("features:", "featurs:"), encoding="utf-8")
    with pytest.raises(PipelineError, match="featurs"):
        train(str(path))


def test_deployments_carry_the_schedule_of_the_pipeline_file(tmp_path: Path) -> None:
    from flows.serve import deployments

    path = write_project(tmp_path / "project")
    with path.open("a", encoding="utf-8") as stream:
        stream.write("schedule: {cron: '30 5 * * 1-5', timezone: Europe/Berlin}\n")
    scoring, training = deployments(path)
    (schedule,) = scoring.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("30 5 * * 1-5", "Europe/Berlin")
    assert training.schedules in (None, [])
    assert scoring.parameters == {"pipeline": str(path)}
    assert scoring.entrypoint == "flows.score.score"
    shutil.rmtree(tmp_path / "project")
