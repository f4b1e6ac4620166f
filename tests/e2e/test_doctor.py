"""The doctor beside real servers: Prefect with and without deployments and workers, MLflow, PostgreSQL."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flowguard.errors import StoreError
from flowguard.stages.doctor import Finding, doctor
from flowguard.stages.train import train
from flowguard.store import Store
from flowguard.store.health import health
from tests.conftest import PIPELINE, write_project
from tests.e2e.process import plain_environment, running, wait_until
from tests.e2e.test_deploy import Server as Prefect
from tests.e2e.test_deploy import project_of
from tests.e2e.test_deploy import server as prefect  # noqa: F401 - a fixture
from tests.e2e.test_store_postgres import Server as Postgres
from tests.e2e.test_store_postgres import server as postgres  # noqa: F401 - a fixture
from tests.e2e.web import answers, free_port

pytestmark = pytest.mark.e2e
BIN = Path(sys.executable).parent


def found(pipeline: Path) -> dict[str, Finding]:
    return {f"{one.group}: {one.name}": one for one in doctor([pipeline]).findings}


def test_a_schedule_is_followed_from_the_file_to_who_runs_it(
    prefect: Prefect,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = project_of(tmp_path / "site", PIPELINE + 'schedule: {cron: "0 5 1 1 *"}\n')
    monkeypatch.setenv("PREFECT_API_URL", prefect.api)
    name = "pipeline meters: schedule"

    fresh = found(pipeline)
    assert (fresh["Prefect: server"].state, fresh["Prefect: clock"].state) == ("ok", "ok")
    assert (fresh[name].state, fresh[name].remedy) == ("fail", f"flowguard deploy {pipeline}")
    assert "has no deployment score/meters" in fresh[name].found

    prefect.deploy(pipeline.parents[1])
    nobody = found(pipeline)[name]
    assert (nobody.state, nobody.remedy) == ("fail", "prefect worker start --pool cpu")
    command = [BIN / "prefect", "worker", "start", "--pool", "cpu"]
    with running(command, cwd=tmp_path, environment=prefect.environment, log=tmp_path / "worker.txt") as worker:
        wait_until(lambda: found(pipeline)[name].state == "ok", 120, "the worker is heard of", by=worker)
        pipeline.write_text(PIPELINE + 'schedule: {cron: "0 6 1 1 *"}\n', encoding="utf-8")
        other = found(pipeline)[name]
        assert (other.state, other.remedy) == ("warn", f"flowguard deploy {pipeline}")
        assert "0 5 1 1 * in UTC is deployed as score/meters, and the file says 0 6 1 1 * in UTC" in other.found
        pipeline.write_text(PIPELINE + 'schedule: {cron: "0 5 1 1 *", timezone: Europe/Berlin}\n', encoding="utf-8")
        assert found(pipeline)[name].state == "warn", "an hour elsewhere is another hour"
        pipeline.write_text(PIPELINE + 'schedule: {cron: "0 5 1 1 *", active: false}\n', encoding="utf-8")
        still = found(pipeline)[name]
        assert (still.state, still.remedy) == ("warn", f"flowguard deploy {pipeline}")
        prefect.deploy(pipeline.parents[1])
        off = found(pipeline)[name]
        assert (off.state, "not active, as the file says" in off.found) == ("ok", True)

    monkeypatch.setenv("PREFECT_API_URL", prefect.api.removesuffix("/api"))
    wrong = found(pipeline)["Prefect: server"]
    assert wrong.state == "fail"
    assert "Does the address end in /api?" in wrong.found


def test_an_mlflow_server_is_asked_and_its_files_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, artifacts = free_port(), tmp_path / "artifacts"
    environment = plain_environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", MLFLOW_DISABLE_TELEMETRY="true")
    command: list[str | Path] = [BIN / "mlflow", "server", "--port", str(port), "--workers", "1", "--serve-artifacts"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", artifacts]
    pipeline = write_project(tmp_path / "project")
    with running(command, cwd=tmp_path, environment=environment, log=tmp_path / "mlflow.txt") as server:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), 120, "MLflow answers", by=server)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        assert "chooses the place" in found(pipeline)["pipeline meters: artifacts"].found
        train(pipeline)
        before = {path for path in artifacts.rglob("*") if path.is_file()}
        well = found(pipeline)
        assert {one.state for one in well.values()} == {"ok"}
        assert "server 3." in well["MLflow: registry"].found
        assert "mlflow-artifacts:/" in well["pipeline meters: artifacts"].found
        assert {path for path in artifacts.rglob("*") if path.is_file()} == before, "the file that was tried is gone"


def test_a_store_in_postgresql_tells_its_clock_and_whether_it_may_be_written(postgres: Postgres) -> None:  # noqa: F811
    base = postgres.new()
    url = postgres.url(base)
    assert health(url).tables == health(url).tables == "none", "nothing is made by asking"
    Store.open(url)
    current = health(url)
    assert current.tables == "current"
    assert current.skew is not None
    assert abs(current.skew) < 1
    postgres.run(
        "CREATE ROLE reader LOGIN PASSWORD 'reading'",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        base=base,
    )
    with pytest.raises(StoreError, match=r"this user may not write to .*GRANT ALL"):
        health(postgres.url(base, user="reader", password="reading"))
    postgres.run(f"ALTER DATABASE {base} SET default_transaction_read_only = on")
    with pytest.raises(StoreError, match="is read-only"):
        health(url)
