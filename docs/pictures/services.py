"""Pictures of Prefect's and MLflow's pages for docs/operations.md: `make pictures`, on the project of `flowguard demo`.

    python -m docs.pictures.services [PROJECT]

PROJECT is a folder in which the demo has run, by default this one. It is copied; the copy is deployed to a Prefect
server of its own, a worker scores its last batches anew, and its registry is shown by MLflow.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from docs.pictures.desk import WIDE, keep
from tests.e2e.browser import chromium, visit
from tests.e2e.desk import copied
from tests.e2e.process import plain_environment, running, wait_until
from tests.e2e.web import answers, asked, free_port

BIN = Path(sys.executable).parent
SINCE = "2013-12-24"
#: MLflow puts an assistant on the right of its pages, which nobody here has set up: it is cut off.
ASIDE = 390


def main(arguments: list[str]) -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("project", nargs="?", type=Path, default=Path(), help="where `flowguard demo` has run")
    given = parser.parse_args(arguments)
    if not (given.project / "runs/mlflow.db").is_file():
        parser.error(f"{given.project.resolve()} has no runs/mlflow.db: run `flowguard demo` there first.")
    with tempfile.TemporaryDirectory() as scratch:
        project = copied(given.project, Path(scratch) / "project", only=("data", "pipelines", "runs", "flows"))
        with services(project, Path(scratch)) as (prefect, mlflow, run), chromium() as browser:
            model = asked(f"{mlflow}/api/2.0/mlflow/registered-models/search")["registered_models"][0]
            made = asked(f"{mlflow}/api/2.0/mlflow/runs/get?run_id={model['latest_versions'][0]['run_id']}")["run"]
            training = f"{mlflow}/#/experiments/{made['info']['experiment_id']}/runs/{made['info']['run_id']}"
            artifact = newest(prefect, "flights-strangest")
            for name, address, height in (
                ("prefect-deployments", f"{prefect}/deployments", 620),
                ("prefect-run", f"{prefect}/runs/flow-run/{run}", 900),
                ("prefect-strangest", f"{prefect}/artifacts/artifact/{artifact}", 800),
                ("mlflow-version", f"{mlflow}/#/models/flights/versions/1", 780),
                ("mlflow-training", training, 900),
            ):
                keep(name, shot(browser, address, height, aside=ASIDE if name.startswith("mlflow") else 0))


@contextmanager
def services(project: Path, scratch: Path) -> Iterator[tuple[str, str, str]]:
    """Prefect's and MLflow's addresses, and the id of a run that a worker has done."""
    ports = free_port(), free_port()
    prefect, mlflow = (f"http://127.0.0.1:{port}" for port in ports)
    environment = plain_environment(
        PREFECT_HOME=str(scratch / "prefect"),
        PREFECT_API_URL=f"{prefect}/api",
        PREFECT_SERVER_UI_API_URL=f"{prefect}/api",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_WORKER_QUERY_SECONDS="2",
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        MLFLOW_DISABLE_TELEMETRY="true",
        DO_NOT_TRACK="1",
        FLOWGUARD_DESK_URL="https://desk.example.org",
        FLOWGUARD_MLFLOW_URL="https://mlflow.example.org",
    )
    commands = {
        "prefect": [BIN / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(ports[0])],
        "mlflow": [
            *(BIN / "mlflow", "server", "--host", "127.0.0.1", "--port", str(ports[1]), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{project}/runs/mlflow.db"),
        ],
    }
    with ExitStack() as stack:
        for name, command in commands.items():
            log = scratch / f"{name}.txt"
            process = stack.enter_context(running(command, cwd=project, environment=environment, log=log))
            well = f"{prefect}/api/health" if name == "prefect" else f"{mlflow}/health"
            wait_until(lambda well=well: answers(well), 180, name, by=process)  # type: ignore[misc]
        subprocess.run([BIN / "flowguard", "deploy"], cwd=project, env=environment, check=True)
        command = [BIN / "prefect", "worker", "start", "--pool", "cpu"]
        worker = stack.enter_context(running(command, cwd=project, environment=environment, log=scratch / "worker.txt"))
        start = [BIN / "prefect", "deployment", "run", "score/flights", "--param", f"since={SINCE}"]
        said = subprocess.run(
            [*start, "--param", "force=true"], cwd=project, env=environment, check=True, capture_output=True, text=True
        ).stdout
        found = re.search(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", said)
        assert found is not None, said
        done = f"{prefect}/api/flow_runs/{found[0]}"
        wait_until(lambda: asked(done)["state_type"] == "COMPLETED", 600, "the run", by=worker)
        time.sleep(3)  # the server writes the last states of tasks in the background
        yield prefect, mlflow, found[0]


def newest(prefect: str, key: str) -> str:
    """The id of the newest artifact with a key."""
    known = asked(f"{prefect}/api/artifacts/latest/filter", {"artifacts": {"key": {"any_": [key]}}})
    return str(known[0]["latest_id"] if "latest_id" in known[0] else known[0]["id"])


def shot(browser: Browser, address: str, height: int, *, aside: int) -> Image.Image:
    """The upper part of a page, once it has drawn itself, without so many pixels on its right."""
    with visit(browser, address, viewport={"width": WIDE + aside, "height": height}) as seen:
        seen.page.wait_for_timeout(6000)  # its network is never idle: it goes on asking
        return Image.open(io.BytesIO(seen.page.screenshot(clip={"x": 0, "y": 0, "width": WIDE, "height": height})))


if __name__ == "__main__":
    main(sys.argv[1:])
