"""One run of the demo for the whole session, in a copy of the checkout's flows and pipelines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOWGUARD = Path(sys.executable).with_name("flowguard")


@dataclass(frozen=True)
class Demo:
    """A project folder in which the demo has run, what it printed, and the seconds and memory it took."""

    folder: Path
    printed: str
    seconds: float
    megabytes: float


def run_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    """`flowguard demo` as a user types it, with an environment that holds none of the tests' settings."""
    foreign = ("OMP_NUM_THREADS", "PREFECT_", "MLFLOW_", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    command = [
        sys.executable,
        "-c",
        "import resource, subprocess, sys\n"
        "code = subprocess.run(sys.argv[1:]).returncode\n"
        "print('PEAK', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)\n"
        "sys.exit(code)",
        str(FLOWGUARD),
        "demo",
    ]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once from nothing."""
    folder = tmp_path_factory.mktemp("demo")
    for part in ("flows", "pipelines"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    started = time.monotonic()
    done = run_demo(folder)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return Demo(folder, done.stdout, seconds, float(done.stdout.rsplit("PEAK", 1)[1]))
