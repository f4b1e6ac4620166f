"""`flowguard deploy` on a real Prefect server: schedules that fire, differences, foreign deployments, automations."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from flowguard.stages.train import train
from flowguard.stages.workspace import Workspace
from tests.conftest import PIPELINE, write_project
from tests.e2e.conftest import FLOWGUARD, ROOT
from tests.e2e.process import plain_environment, running, wait_until
from tests.e2e.web import answers, asked, free_port

pytestmark = pytest.mark.e2e

FLOWS = {"score", "monitor", "train", "recalibrate", "enqueue"}
PREFECT = Path(sys.executable).with_name("prefect")


@dataclass(frozen=True)
class Server:
    """A Prefect server, and the environment in which others reach it."""

    environment: dict[str, str]

    @property
    def api(self) -> str:
        return self.environment["PREFECT_API_URL"]

    def deployments(self) -> dict[str, dict[str, Any]]:
        """Every deployment of the server by flow and name."""
        flows = {one["id"]: one["name"] for one in asked(f"{self.api}/flows/filter", {})}
        return {f"{flows[one['flow_id']]}/{one['name']}": one for one in asked(f"{self.api}/deployments/filter", {})}

    def planned(self, deployment: str) -> int:
        """How many runs of a deployment are still to start."""
        known = self.deployments()[deployment]["id"]
        wanted = {"deployments": {"id": {"any_": [known]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
        return len(asked(f"{self.api}/flow_runs/filter", wanted))

    def foreign(self, flow: str, name: str, **more: Any) -> None:
        """Make a deployment that flowguard deploy has no business with."""
        made = asked(f"{self.api}/flows/", {"name": flow})
        schedules = [{"active": True, "schedule": {"cron": "0 0 1 1 *", "timezone": "UTC"}}]
        asked(f"{self.api}/deployments/", {"flow_id": made["id"], "name": name, "schedules": schedules, **more})

    def call(self, *command: object, cwd: Path) -> str:
        """What a command prints that must succeed."""
        done = subprocess.run(
            list(map(str, command)), cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deploy(self, project: Path, *options: str) -> dict[str, Any]:
        """What `flowguard deploy` did to the project, as it tells scripts."""
        return json.loads(self.call(FLOWGUARD, "deploy", "--json", *options, cwd=project))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    environment = plain_environment(
        OMP_NUM_THREADS="1",
        PREFECT_HOME=str(folder),
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_WORKER_QUERY_SECONDS="2",
        DO_NOT_TRACK="1",
    )
    command = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, cwd=ROOT, environment=environment, log=folder / "server.txt") as started:
        wait_until(lambda: answers(f"{environment['PREFECT_API_URL']}/health"), 180, "the server answers", by=started)
        yield Server(environment)


def project_of(folder: Path, text: str) -> Path:
    """A project with flows of its own, as a checkout has them: its pipeline file."""
    path = write_project(folder, text)
    shutil.copytree(ROOT / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    return path


def test_deployed_schedules_fire_and_what_is_taken_out_disappears(server: Server, tmp_path: Path) -> None:
    pipeline = project_of(tmp_path / "site", PIPELINE + 'schedule: {cron: "* * * * *"}\n')
    project = pipeline.parents[1]
    train(pipeline)
    server.foreign("score", "somebody-elses", tags=["mine"])
    others = {"job_variables": {"env": {"FLOWGUARD_PROJECT": "another"}}}
    server.foreign("score", "another-projects", tags=["flowguard"], **others)
    foreign = server.deployments()

    made = server.deploy(project)
    assert (made["pools"], set(made["created"])) == (["cpu"], {f"{flow}/meters" for flow in FLOWS})
    there = server.deployments()
    assert set(there) == {*foreign, *made["created"]}
    score = there["score/meters"]
    assert score["tags"] == ["flowguard", "meters"]
    assert score["parameters"] == {"pipeline": "pipelines/meters.yaml"}
    assert (score["work_pool_name"], score["global_concurrency_limit"]["limit"]) == ("cpu", 1)

    command = [PREFECT, "worker", "start", "--pool", "cpu"]
    with running(command, cwd=tmp_path, environment=server.environment, log=tmp_path / "worker.txt") as worker:
        again = server.deploy(project)
        assert (again["created"], again["changed"], again["removed"]) == ({}, {}, [])
        assert set(again["unchanged"]) == set(made["created"])
        assert server.deployments()["score/meters"]["updated"] == score["updated"], "nothing was written"
        queue = Workspace.open(pipeline).store.queue
        wait_until(
            lambda: set(queue.queued("meters")) == {"part0", "part1", "part2"}, 240, "the desk has it", by=worker
        )

    pipeline.write_text(PIPELINE, encoding="utf-8")
    dry = server.deploy(project, "--dry-run")
    assert dry["changed"]["score/meters"]["schedule"] == ["* * * * * UTC", "none"]
    assert len(server.deployments()["score/meters"]["schedules"]) == 1, "a dry run changes nothing"
    assert server.planned("score/meters") > 0
    assert set(server.deploy(project)["changed"]) == set(made["created"])
    for name in ("score/meters", "monitor/meters"):
        assert server.deployments()[name]["schedules"] == []
        assert server.planned(name) == 0, "what the schedule had planned is gone with it"

    pipeline.unlink()
    assert set(server.deploy(project)["removed"]) == set(made["created"])
    assert server.deployments() == foreign, "of others nothing was touched"


def test_the_declared_form_deploys_the_same_with_prefects_own_command(server: Server, tmp_path: Path) -> None:
    text = PIPELINE.replace("meters", "declared") + 'schedule: {cron: "30 6 * * *", timezone: Europe/Berlin}\n'
    project = project_of(tmp_path / "declared", text).parents[1]
    if not answers(f"{server.api}/work_pools/cpu"):
        server.call(PREFECT, "work-pool", "create", "cpu", "--type", "process", cwd=project)
    server.call(FLOWGUARD, "deploy", "--prefect-yaml", "prefect.yaml", cwd=project)
    server.call(PREFECT, "--no-prompt", "deploy", "--all", cwd=project)
    found = server.deploy(project, "--dry-run")
    assert (found["created"], found["changed"], found["removed"]) == ({}, {}, [])
    assert {name.split("/")[0] for name in found["unchanged"]} == FLOWS


def test_the_automations_of_the_docs_are_taken_and_act_on_events(server: Server, tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n# (\w+)\.yaml\n(.*?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL)
    examples = dict(blocks)
    server.foreign("recalibrate", "flights", schedules=[])
    deployment = server.deployments()["recalibrate/flights"]["id"]
    with listening() as (address, heard):
        said = "{'said': '{{subject}}: {{body}}'}"
        code = (
            "from prefect.blocks.notifications import CustomWebhookNotificationBlock as W; "
            f"print(W(name='test', url='{address}', json_data={said}).save('flowguard'))"
        )
        block = server.call(sys.executable, "-c", code, cwd=tmp_path).split()[-1]
        for name, text in examples.items():
            filled = text.replace("BLOCK_ID", block).replace("DEPLOYMENT_ID", deployment)
            (tmp_path / f"{name}.yaml").write_text(filled, encoding="utf-8")
            server.call(PREFECT, "automation", "create", "--from-file", f"{name}.yaml", cwd=tmp_path)
        assert {one["name"] for one in asked(f"{server.api}/automations/filter", {})} == {
            "A batch is late or empty",
            "Recalibrate flights after drift",
            "A version failed the gate",
            "A run whose machine was lost has crashed",
        }
        failed = "flights version 2 failed the gate."
        events = {"flowguard.late": "Batch 2026-01-06 is not there.", "flowguard.gate": failed, "flowguard.drift": ""}
        for event, sentence in events.items():
            payload = json.dumps({"sentence": sentence})
            about = ("--resource", "prefect.resource.name=flights")
            server.call(
                *(PREFECT, "event", "emit", event, "--resource-id", "flowguard.pipeline.flights", *about),
                *("--payload", payload),
                cwd=tmp_path,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (len(heard) == 2 and server.planned("recalibrate/flights")):
            time.sleep(0.5)
    said = sorted(one["said"] for one in heard)
    assert said == ["flowguard: flights: Batch 2026-01-06 is not there.", f"flowguard: flights: {failed}"]
    assert server.planned("recalibrate/flights") == 1, "drift started one run"


@contextmanager
def listening() -> Iterator[tuple[str, list[Any]]]:
    """A web server that keeps the JSON that is posted to it: its address, and what it heard."""
    heard: list[Any] = []

    class Ear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Ear) as ear:
        threading.Thread(target=ear.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{ear.server_port}/", heard
        finally:
            ear.shutdown()
