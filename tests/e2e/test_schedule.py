"""A schedule that fires: a real Prefect server, flows served from the checkout, a file that is delivered, a kill."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flowguard.stages.manifest import latest
from flowguard.stages.train import train
from tests.conftest import PIPELINE, meters, write_project
from tests.e2e.conftest import ROOT
from tests.e2e.process import plain_environment, running, wait_until
from tests.e2e.web import answers, asked, free_port

pytestmark = pytest.mark.e2e

LARGE = 800_000  # some seconds of work: long enough to be killed in the middle of it


@dataclass(frozen=True)
class Site:
    """A trained project away from the checkout, and the environment in which its flows reach a Prefect server."""

    pipeline: Path
    environment: dict[str, str]
    log: Path

    def deliver(self, name: str, rows: int) -> None:
        """A new file of data, whole from the moment on that it has its name."""
        path = self.pipeline.parents[1] / "data" / f"{name}.parquet"
        pq.write_table(meters(rows, rows), path.with_suffix(".tmp"))
        path.with_suffix(".tmp").rename(path)

    def states(self) -> set[str]:
        """The states of the runs that the schedule has started."""
        runs = asked(f"{self.environment['PREFECT_API_URL']}/flow_runs/filter", {"limit": 200})
        return {run["state_type"] for run in runs if run["auto_scheduled"]}

    @property
    def outputs(self) -> Path:
        return self.pipeline.parents[1] / "runs" / "meters"

    @property
    def serve(self) -> list[str]:
        return [sys.executable, "-m", "flows.serve", str(self.pipeline)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    path = write_project(tmp_path / "project", PIPELINE + 'schedule: {cron: "* * * * *"}\n')
    train(path)
    port = free_port()
    environment = plain_environment(
        OMP_NUM_THREADS="1",
        PREFECT_HOME=str(tmp_path / "prefect"),
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_SERVER_UI_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_RUNNER_POLL_FREQUENCY="2",
        DO_NOT_TRACK="1",
    )
    (tmp_path / "prefect").mkdir()
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, cwd=ROOT, environment=environment, log=tmp_path / "server.txt") as server:
        wait_until(lambda: answers(f"{environment['PREFECT_API_URL']}/health"), 120, "the server answers", by=server)
        yield Site(path, environment, tmp_path / "serve.txt")


def test_a_schedule_scores_what_is_delivered_and_a_kill_in_mid_work_is_made_good(site: Site) -> None:
    with running(site.serve, cwd=ROOT, environment=site.environment, log=site.log) as served:
        wait_until(lambda: len(latest(site.outputs)) == 3, 180, "the first scheduled run", by=served)
        assert all(manifest.run for manifest in latest(site.outputs).values()), "manifests name the Prefect run"
        wait_until(lambda: "COMPLETED" in site.states(), 60, "the run is completed", by=served)

        # Two more files; while the large one is under way everything dies at once: what serves and what runs.
        site.deliver("part7", 400)
        site.deliver("part8", LARGE)
        folder = site.outputs / "scores" / "batch=part8" / "version=1"
        wait_until(lambda: any(folder.glob(".*")), 180, "the next scheduled run", by=served, every=0.05)
        assert len(served.family()) > 1, "a run is a process of its own"
        served.kill()
    known = latest(site.outputs)
    assert known["part7"].read == 400
    assert "part8" not in known, "half a batch does not count"
    assert seen(folder) == []

    with running(site.serve, cwd=ROOT, environment=site.environment, log=site.log) as served:
        wait_until(lambda: "part8" in latest(site.outputs), 240, "the batch is scored after all", by=served)
        assert "Traceback" not in site.log.read_text(encoding="utf-8")
        assert served.stop() == 0
        assert served.family() == [], "nothing lives on"
    after = latest(site.outputs)
    assert after.pop("part8").scored == LARGE
    assert after == known, "what was done is not done again"
    (scores,) = seen(folder)
    assert pq.read_metadata(scores).num_rows == LARGE


def seen(folder: Path) -> list[Path]:
    """What a reader of a folder of Parquet files sees: not the names that begin with a dot."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]
