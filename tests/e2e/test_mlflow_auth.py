"""MLflow behind its own log-in: a user of it trains and scores, anybody else is refused and told what is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import write_project
from tests.e2e.conftest import FLOWGUARD
from tests.e2e.process import plain_environment, running, wait_until
from tests.e2e.web import answers, free_port

pytestmark = pytest.mark.e2e

MLFLOW = Path(sys.executable).with_name("mlflow")
ADMIN = ("admin", "admin-of-a-test-12")
USER = ("flowguard", "flowguard-of-a-test-12")


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{folder}/auth.db\nadmin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
    )
    environment = plain_environment(
        MLFLOW_AUTH_CONFIG_PATH=str(folder / "auth.ini"),
        MLFLOW_FLASK_SERVER_SECRET_KEY="secret-of-a-test",
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        MLFLOW_DISABLE_TELEMETRY="true",
    )
    command = [MLFLOW, "server", "--app-name", "basic-auth", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--serve-artifacts", "--artifacts-destination", str(folder / "files")]
    with running(command, cwd=folder, environment=environment, log=folder / "log.txt") as server:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/health"), 120, "MLflow answers", by=server)
        made = httpx.post(
            f"{url}/api/2.0/mlflow/users/create", json={"username": USER[0], "password": USER[1]}, auth=ADMIN
        )
        assert made.status_code == 200, made.text
        yield url


def flowguard(
    project: Path, mlflow: str, *words: str, user: tuple[str, str] | None
) -> subprocess.CompletedProcess[str]:
    """A command with MLflow's address and a user's name and password in the environment."""
    given = {"MLFLOW_TRACKING_URI": mlflow, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    if user is not None:
        given |= {"MLFLOW_TRACKING_USERNAME": user[0], "MLFLOW_TRACKING_PASSWORD": user[1]}
    return subprocess.run(
        [FLOWGUARD, *words],
        cwd=project,
        env=plain_environment(**given),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_user_trains_and_scores_and_nobody_else_does(mlflow: str, tmp_path: Path) -> None:
    project = write_project(tmp_path / "site").parents[1]
    for user in (None, (USER[0], "not-the-password")):
        refused = flowguard(project, mlflow, "train", "pipelines/meters.yaml", user=user)
        said = refused.stdout + refused.stderr
        assert refused.returncode == 1, said
        assert "MLFLOW_TRACKING_USERNAME" in said
        assert "Traceback" not in said
    trained = flowguard(project, mlflow, "train", "pipelines/meters.yaml", user=USER)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    scored = flowguard(project, mlflow, "score", "pipelines/meters.yaml", user=USER)
    assert "3 batches with version 1" in scored.stdout, scored.stdout + scored.stderr
    assert USER[1] not in trained.stdout + trained.stderr + scored.stdout + scored.stderr
