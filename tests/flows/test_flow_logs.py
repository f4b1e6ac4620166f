"""A flow's log as JSON: every line with the Prefect run and the pipeline, Prefect's own among them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from flowguard.logs import FIELDS
from tests.flows.test_flows import ROOT


@pytest.mark.e2e
def test_a_flow_logs_nothing_but_json(project: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {
        "FLOWGUARD_LOG": "json",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "INFO",
    }
    command = [sys.executable, "-m", "flows.score", str(project)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(set(FIELDS) <= set(line) for line in told)
    ours = [line for line in told if line["logger"].startswith("flowguard")]
    assert {line["pipeline"] for line in ours} == {"meters"}
    assert len({UUID(line["run"]) for line in ours}) == 1
    assert [line["batch"] for line in ours if line["message"] == "scored"] == ["part0", "part1", "part2"]
    # Prefect's lines of the same run name it too.
    assert any(line["logger"].startswith("prefect") and line["run"] == ours[0]["run"] for line in told)
