"""The flows, run for real in Prefect's in-process mode: they do what the commands do, and leave artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.local import settle  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flowguard.errors import InputError, PipelineError
from flowguard.stages.manifest import latest
from flowguard.stages.workspace import Workspace
from flows.score import score
from flows.serve import deployments, offer
from flows.train import train
from tests.conftest import meters, write_project


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
    assert {"meters-version", "meters-scored"} <= keys
    assert {"train meters", "score meters"} <= runs


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
