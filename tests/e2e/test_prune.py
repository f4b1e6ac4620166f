"""Old versions on an MLflow server, whose files only the server reaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowguard.detector.bundle import seal
from flowguard.stages.prune import prune
from flowguard.stages.workspace import Workspace
from tests.conftest import PIPELINE, write_project
from tests.e2e.process import plain_environment, running, wait_until
from tests.e2e.test_doctor import BIN
from tests.e2e.web import answers, free_port

pytestmark = pytest.mark.e2e


def test_a_version_goes_from_a_server_with_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, artifacts = free_port(), tmp_path / "artifacts"
    environment = plain_environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", MLFLOW_DISABLE_TELEMETRY="true")
    command: list[str | Path] = [BIN / "mlflow", "server", "--port", str(port), "--workers", "1", "--serve-artifacts"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", artifacts]
    path = write_project(tmp_path / "project", PIPELINE + "retention: {versions: 1}\n")

    def files() -> dict[Path, int]:
        return {one: one.stat().st_size for one in artifacts.rglob("*") if one.is_file()}

    with running(command, cwd=tmp_path, environment=environment, log=tmp_path / "mlflow.txt") as server:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), 120, "MLflow answers", by=server)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        registry, made = Workspace.open(path).registry, [files()]
        for content in ("first", "second", "third"):
            seal(tmp_path / content, documents={"content": content}, arrays={}, facts={})
            registry.log_version(tmp_path / content, name="meters", inputs={"power": "double"})
            made.append(files())
        _, first, second, third = made
        mine = second.keys() - first.keys()
        told, done = prune(path, dry_run=True), prune(path)
        assert told.removed == done.removed
        assert [(one.name, one.files, one.bytes) for one in done.removed] == [
            ("version 2", len(mine), sum(second[one] for one in mine))
        ]
        assert files().keys() == third.keys() - mine
        assert [one.version for one in registry.versions("meters")] == [3, 1]
        assert prune(path).removed == ()
