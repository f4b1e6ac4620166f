"""A schedule that fires: a real Prefect server, flows served from the checkout, a file that is delivered, a kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flowguard.stages.manifest import latest
from flowguard.stages.train import train
from tests.conftest import PIPELINE, meters, write_project
from tests.e2e.conftest import ROOT

pytestmark = pytest.mark.e2e


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return
        time.sleep(1)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


@contextmanager
def process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, stopped with its children whatever happens."""
    with log.open("ab") as stream:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        yield started
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if started.poll() is None:
                os.killpg(started.pid, sign)
                try:
                    started.wait(15)
                except subprocess.TimeoutExpired:
                    continue


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def test_a_scheduled_run_fires_and_a_killed_one_is_made_good(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project", PIPELINE + 'schedule: {cron: "* * * * *"}\n')
    train(path)
    folder = tmp_path / "project" / "runs" / "meters"
    port = free_port()
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "DO_NOT_TRACK": "1",
    }
    (tmp_path / "prefect").mkdir()
    server = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    serve = [sys.executable, "-m", "flows.serve", str(path)]
    log = tmp_path / "log.txt"
    with process(server, environment, log):
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/api/health"), 90, "the Prefect server answers")
        with process(serve, environment, log) as worker:
            wait_until(lambda: len(latest(folder)) == 3, 180, f"the schedule fires\n{log.read_text()[-3000:]}")
            runs = {manifest.run for manifest in latest(folder).values()}
            assert None not in runs, "each manifest names the Prefect run that made it"
            # Killed without a word, with a new file waiting: nothing is lost and nothing is done twice.
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(15)
        pq.write_table(meters(400, 7), tmp_path / "project" / "data" / "part7.parquet")
        before = {name: manifest.started for name, manifest in latest(folder).items()}
        with process(serve, environment, log):
            wait_until(lambda: "part7" in latest(folder), 180, f"the next run\n{log.read_text()[-3000:]}")
        after = latest(folder)
        assert {name: after[name].started for name in before} == before
        assert after["part7"].read == 400
