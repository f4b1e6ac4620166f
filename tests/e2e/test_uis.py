"""`mlflow ui` and Prefect's pages, started by the commands that the demo prints, show what the demo did."""

from __future__ import annotations

import json
import re
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browser import visit
from tests.e2e.conftest import Demo
from tests.e2e.process import plain_environment, running, wait_until
from tests.e2e.web import answers, asked, free_port

pytestmark = pytest.mark.e2e

BIN = Path(sys.executable).parent
MLFLOW = "mlflow ui --backend-store-uri sqlite:///runs/mlflow.db"
PREFECT = "PREFECT_HOME=runs/prefect prefect server start"


@pytest.fixture(scope="module")
def mlflow(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert MLFLOW in demo.first.printed
    port = free_port()
    # The job runner of MLflow's language model features is of no use here: six processes of 265 MB.
    environment = plain_environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", MLFLOW_DISABLE_TELEMETRY="true")
    program, *arguments = MLFLOW.split()
    command = [BIN / program, *arguments, "--port", str(port), "--workers", "1"]
    log = tmp_path_factory.mktemp("mlflow") / "log.txt"
    with running(command, cwd=demo.folder, environment=environment, log=log) as server:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), 120, "MLflow answers", by=server)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def prefect(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert PREFECT in demo.first.printed
    port = free_port()
    setting, program, *arguments = PREFECT.split()
    home = dict([setting.split("=")])
    environment = plain_environment(
        **home,
        PREFECT_SERVER_UI_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
    )
    command = [BIN / program, *arguments, "--port", str(port)]
    log = tmp_path_factory.mktemp("prefect") / "log.txt"
    with running(command, cwd=demo.folder, environment=environment, log=log) as server:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/api/health"), 120, "Prefect answers", by=server)
        yield f"http://127.0.0.1:{port}"


def test_mlflow_has_the_champion_with_its_figures_and_files(mlflow: str) -> None:
    api = f"{mlflow}/api/2.0/mlflow"
    (model,) = asked(f"{api}/registered-models/search")["registered_models"]
    assert (model["name"], model["aliases"]) == ("flights", [{"alias": "champion", "version": "1"}])
    (version,) = asked(f"{api}/model-versions/search")["model_versions"]
    run = asked(f"{api}/runs/get?run_id={version['run_id']}")["run"]
    metrics = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert {"best_validation_nll", "threshold", "holdout_asked", "holdout_observed"} <= set(metrics)
    assert "features" in {one["key"] for one in run["data"]["params"]}
    files = {one["path"] for one in asked(f"{api}/artifacts/list?run_id={version['run_id']}").get("files", [])}
    assert any("training.svg" in path for path in deep(api, version["run_id"], files))


def deep(api: str, run: str, paths: set[str]) -> set[str]:
    """All artifacts of a run below `paths`."""
    found = set()
    for path in paths:
        inside = asked(f"{api}/artifacts/list?{urllib.parse.urlencode({'run_id': run, 'path': path})}").get("files", [])
        found |= deep(api, run, {one["path"] for one in inside}) if inside else {path}
    return found


def test_mlflow_shows_the_model_and_the_run(mlflow: str, browser: Browser, tmp_path: Path) -> None:
    with visit(browser, f"{mlflow}/#/models/flights") as seen:
        expect(seen.page.get_by_text("champion").first).to_be_visible(timeout=30_000)
        expect(seen.page.get_by_text("Version 1").first).to_be_visible()
        seen.page.screenshot(path=tmp_path / "model.png")
    (model,) = asked(f"{mlflow}/api/2.0/mlflow/registered-models/search")["registered_models"]
    run = model["latest_versions"][0]["run_id"]
    experiment = asked(f"{mlflow}/api/2.0/mlflow/runs/get?run_id={run}")["run"]["info"]["experiment_id"]
    with visit(browser, f"{mlflow}/#/experiments/{experiment}/runs/{run}") as seen:
        expect(seen.page.get_by_text("holdout_observed").first).to_be_visible(timeout=30_000)
        seen.page.screenshot(path=tmp_path / "run.png", full_page=True)


def test_prefect_has_the_flows_the_batches_and_the_artifacts(prefect: str) -> None:
    runs = asked(f"{prefect}/api/flow_runs/filter", {"limit": 200})
    assert {"demo flights", "train flights", "score flights since 2013-05-01 until 2013-08-01"} <= {
        run["name"] for run in runs
    }
    assert {run["state_name"] for run in runs} == {"Completed"}
    tasks = asked(f"{prefect}/api/task_runs/filter", {"limit": 200, "sort": "EXPECTED_START_TIME_ASC"})
    assert len({task["name"] for task in tasks if re.match(r"score 2013-0[567]-\d\d", task["name"])}) == 92
    assert {task["state_name"] for task in tasks} == {"Completed"}
    artifacts = {one["key"]: one for one in asked(f"{prefect}/api/artifacts/filter", {"limit": 50})}
    assert {"flights-version", "flights-scored"} <= set(artifacts)
    assert len(json.loads(artifacts["flights-scored"]["data"])) == 92


def test_prefect_shows_the_runs(prefect: str, browser: Browser, tmp_path: Path) -> None:
    with visit(browser, f"{prefect}/runs") as seen:
        expect(seen.page.get_by_text("score flights").first).to_be_visible(timeout=30_000)
        seen.page.screenshot(path=tmp_path / "runs.png")
