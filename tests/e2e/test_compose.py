"""docker/: the files are sound, and the services that compose.yaml names start by its very commands and settings."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator

import boto3
import httpx
import pyarrow.parquet as pq
import pytest

from flowguard.stages.manifest import latest
from tests.conftest import PIPELINE, meters
from tests.e2e import compose
from tests.e2e.compose import BIN, FILE, PASSWORD, SECRETS, Site
from tests.e2e.conftest import ROOT
from tests.e2e.process import wait_until

pytestmark = pytest.mark.e2e


def test_the_compose_file_keeps_to_its_schema() -> None:
    checked = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE]
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_dockerfile_has_nothing_to_complain_about() -> None:
    done = subprocess.run(
        [BIN / "hadolint", ROOT / "docker" / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout == ""


def test_every_target_is_built_and_runs_without_rights() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^FROM \S+ AS ([\w-]+)$", text, re.MULTILINE))
    assert {"cpu", "gpu", "review", "mlflow"} <= targets
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    for service, how in compose.read()["services"].items():
        if "build" in how:
            assert how["build"]["target"] in targets, service
        assert "user" not in how or how["user"] != "root"


def test_no_secret_stands_in_a_file_and_none_is_forgotten() -> None:
    text = FILE.read_text(encoding="utf-8")
    for name in re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|AUTH)\w*)", text):
        assert not re.search(rf"\${{{name}:-", text), f"{name} has no default"
    example = (ROOT / "docker" / "env.example").read_text(encoding="utf-8")
    for name, value in re.findall(r"^(\w*(?:PASSWORD|SECRET|AUTH)\w*)=(.*)$", example, re.MULTILINE):
        assert value == "", f"{name}: what is copied as it is must not start"
    assert set(re.findall(r"\$\{(\w+)", text)) <= set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_services_reached_from_outside_are_reached_by_this_machine_alone() -> None:
    for service, how in compose.read()["services"].items():
        assert all(str(port).startswith("127.0.0.1:") for port in how.get("ports", [])), service


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("compose")
    with compose.site(folder, {"meters.yaml": PIPELINE}) as site:
        (site.project / "data").mkdir()
        for number in range(3):
            pq.write_table(meters(1000, number), site.project / "data" / f"part{number}.parquet")
        for service in ("postgres", "s3"):
            site.start(service)
        site.once("bucket")
        for service in ("mlflow", "prefect"):
            site.start(service)
        yield site


def test_a_version_goes_through_mlflow_to_the_object_store_and_scores_from_there(started: Site) -> None:
    flowguard = str(BIN / "flowguard")
    started.run([flowguard, "train", "pipelines/meters.yaml"], "worker")
    said = started.run([flowguard, "score", "pipelines/meters.yaml"], "worker")
    assert "3 batches with version 1" in said
    found = boto3.client(
        "s3",
        endpoint_url=started.url("s3"),
        aws_access_key_id=SECRETS["S3_ACCESS_KEY"],
        aws_secret_access_key=SECRETS["S3_SECRET_KEY"],
        region_name="us-east-1",
    ).list_objects_v2(Bucket="mlflow")
    assert any(entry["Key"].endswith("manifest.json") for entry in found["Contents"])
    assert not list(started.project.rglob("mlflow.db")), "nothing fell back to this machine's files"
    assert not list(started.project.rglob("flowguard.db"))


def test_what_is_seeded_is_deployed_runs_on_the_worker_and_is_reviewed_at_the_desk(started: Site) -> None:
    started.once("seed")
    started.once("seed")  # all of it may run again
    started.start("worker")
    pq.write_table(meters(600, 9), started.project / "data" / "part9.parquet")
    run = [str(BIN / "prefect"), "deployment", "run", "score/meters"]
    started.run(run, "worker")
    outputs = started.project / "runs" / "meters"
    wait_until(lambda: "part9" in latest(outputs), 180, "the worker scores", by=started.services["worker"])
    assert latest(outputs)["part9"].run
    started.start("review")
    with httpx.Client(base_url=started.url("review"), headers={"Host": "localhost"}, follow_redirects=True) as browser:
        token = re.search(r'name="csrftoken" value="([^"]+)"', browser.get("/queue").text)
        assert token is not None, "whoever is not logged in is asked to"
        form = {"csrftoken": token[1], "name": "admin", "password": PASSWORD, "next": "/queue?all=true"}
        answer = browser.post("/login", data=form, headers={"Origin": "http://localhost"})
        assert answer.status_code == 200
        wait_until(
            lambda: "part9" in browser.get("/queue?all=true").text,
            60,
            "the desk shows the batch",
            by=started.services["review"],
        )


def test_the_metrics_tell_what_was_scored_and_what_is_down(started: Site) -> None:
    started.start("metrics")

    def told() -> str:
        return httpx.get(f"{started.url('metrics')}/metrics").text

    wait_until(lambda: "flowguard_champion_info{" in told(), 60, "the registry is read", by=started.services["metrics"])
    for line in (
        'flowguard_store_up{pipeline="meters"} 1.0',
        'flowguard_registry_up{pipeline="meters"} 1.0',
        'flowguard_source_up{pipeline="meters"} 1.0',
        'flowguard_batches{pipeline="meters",version="1"}',
        'flowguard_last_batch_p_value_bucket{le="+Inf",pipeline="meters"}',
    ):
        assert line in told()
    postgres = started.services.pop("postgres").process
    postgres.send_signal(signal.SIGINT)  # as its image is stopped: without waiting for whoever is connected
    postgres.wait(60)
    try:
        down = 'flowguard_store_up{pipeline="meters"} 0.0'
        wait_until(lambda: down in told(), 60, "it is told", by=started.services["metrics"])
        assert "flowguard_batches{" not in told()
    finally:
        started.start("postgres")
    up = 'flowguard_store_up{pipeline="meters"} 1.0'
    wait_until(lambda: up in told(), 60, "it is back", by=started.services["metrics"])


def test_a_bucket_that_is_there_is_left_alone(started: Site) -> None:
    assert "is there" in started.once("bucket")
