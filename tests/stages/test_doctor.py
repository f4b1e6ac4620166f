"""Doctor: each planted fault is found where it is, with what to do; a healthy project is left as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import httpx
import pytest
import torch
from packaging.requirements import Requirement
from typer.testing import CliRunner

from flowguard.cli.main import app
from flowguard.stages.doctor import Diagnosis, Finding, doctor
from flowguard.stages.doctor.finding import Answer, Check, findings
from flowguard.stages.doctor.machine import _wrong, missing
from flowguard.stages.users import add_user
from flowguard.stages.workspace import Workspace
from tests.conftest import write_project
from tests.notify.receivers import webhook


@pytest.fixture
def own(project: Path, trained_project: Path) -> Path:
    """A trained project whose registry names files of its own, so that they can be broken."""
    folder = project.parents[1]
    with closing(sqlite3.connect(folder / "runs/mlflow.db")) as base, base:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
            ("model_versions", "source"),
            ("model_versions", "storage_location"),
        ):
            base.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(trained_project), str(folder)))
    shutil.rmtree(folder / "runs/.bundles", ignore_errors=True)
    return project


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Somebody accepts connections there and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def faults(diagnosis: Diagnosis, state: str = "fail") -> dict[str, Finding]:
    return {f"{one.group}: {one.name}": one for one in diagnosis.findings if one.state == state}


def only_fault(pipeline: Path, where: str) -> Finding:
    """The one failure of a project, which has to be at `where` and to name a remedy."""
    diagnosis = doctor([pipeline])
    found = faults(diagnosis)
    assert set(found) == {where}
    assert not diagnosis.well
    assert found[where].remedy
    return found[where]


def setting(pipeline: Path, text: str) -> None:
    (pipeline.parents[1] / "flowguard.toml").write_text(text, encoding="utf-8")


def rewrite(pipeline: Path, old: str, new: str) -> None:
    text = pipeline.read_text(encoding="utf-8")
    assert old in text
    pipeline.write_text(text.replace(old, new), encoding="utf-8")


def content(folder: Path) -> dict[str, str]:
    """Every file by its digest; SQLite's own companions come and go with whoever looks."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm")))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# -- a healthy project -----------------------------------------------------------------------------------------------


def test_a_healthy_project_is_all_in_order_and_left_as_it_was(own: Path) -> None:
    Workspace.open(own).store.users.all()  # the store is made
    before = content(own.parents[1])
    diagnosis = doctor([own])
    assert faults(diagnosis) == {}
    assert diagnosis.well
    found = {one.name: one.found for one in diagnosis.findings}
    assert found["champion"].startswith("version 1, of ")
    assert "3,000 records in 3 batches" in found["data"]
    assert "every file is as it was sealed" in found["bundle"]
    assert content(own.parents[1]) == before


def test_a_project_without_a_run_is_asked_about_without_making_one(tmp_path: Path) -> None:
    pipeline = write_project(tmp_path / "project")
    diagnosis = doctor([pipeline])
    assert set(faults(diagnosis)) == {"pipeline meters: champion"}
    assert "flowguard train" in faults(diagnosis)["pipeline meters: champion"].remedy
    assert not (tmp_path / "project/runs").exists()


def test_the_command_marks_its_findings_and_leaves_with_one_when_something_fails(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parents[1])
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    assert "✓ champion         version 1" in done.output
    assert "✓ file             pipelines/meters.yaml" in done.output
    shutil.rmtree("data")
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert not document["well"]
    (data,) = [one for one in document["findings"] if one["name"] == "data"]
    assert (data["state"], data["group"]) == ("fail", "pipeline meters")


# -- planted faults --------------------------------------------------------------------------------------------------


def test_a_pipeline_file_that_is_wrong(own: Path) -> None:
    rewrite(own, "policy:", "polcy:")
    found = only_fault(own, "pipeline meters: file")
    assert "did you mean `policy`?" in found.found
    assert found.remedy.endswith(f"flowguard check {own}")


def test_data_that_is_not_there(own: Path) -> None:
    shutil.rmtree(own.parents[1] / "data")
    found = only_fault(own, "pipeline meters: data")
    assert "data/*.parquet matches no file" in found.found
    assert "flowguard check" in found.remedy


def test_data_that_is_damaged(own: Path) -> None:
    file = own.parents[1] / "data/part2.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    assert "part2.parquet" in only_fault(own, "pipeline meters: data").found


def test_an_output_folder_that_cannot_be_written_to(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write wherever the bits say otherwise; below a file nobody can.
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("FLOWGUARD_STORE", f"sqlite:///{own.parents[1]}/runs/flowguard.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{own.parents[1]}/runs/mlflow.db")
    rewrite(own, "resources:", f"output: {{folder: {tmp_path}/taken/runs}}\nresources:")
    found = only_fault(own, "project: output folder")
    assert f"{tmp_path}/taken is a file" in found.found
    assert "output.folder" in found.remedy


def test_a_store_where_nobody_listens(own: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    monkeypatch.setenv("FLOWGUARD_STORE", f"postgresql://me:secret@127.0.0.1:{closed_port}/flowguard")
    found = only_fault(own, "store: store")
    assert "does not answer" in found.found
    assert "secret" not in str(found)
    assert found.remedy == "Correct FLOWGUARD_STORE."


def test_a_store_that_a_newer_flowguard_made(own: Path) -> None:
    Workspace.open(own).store.users.all()
    with closing(sqlite3.connect(own.parents[1] / "runs/flowguard.db")) as base, base:
        base.execute("UPDATE flowguard_revision SET version_num = '9999'")
    found = only_fault(own, "store: store")
    assert "made by a newer flowguard" in found.found
    assert "Upgrade flowguard here" in found.found


def test_a_store_that_is_no_database(own: Path) -> None:
    setting(own, 'store = "sqlite:///notes.db"')
    (own.parents[1] / "notes.db").write_bytes(b"no database at all" * 100)
    found = only_fault(own, "store: store")
    assert "no SQLite database" in found.found
    assert found.remedy == "Correct `store` in flowguard.toml."


def test_a_registry_where_nobody_listens(own: Path, closed_port: int) -> None:
    setting(own, f'tracking_uri = "http://127.0.0.1:{closed_port}"')
    found = only_fault(own, "MLflow: registry")
    assert "does not answer" in found.found
    assert "MLFLOW_TRACKING_URI" in found.remedy


def test_a_model_without_a_champion(own: Path) -> None:
    with closing(sqlite3.connect(own.parents[1] / "runs/mlflow.db")) as base, base:
        base.execute("DELETE FROM registered_model_aliases")
    found = only_fault(own, "pipeline meters: champion")
    assert "No version of the model meters is its champion" in found.found
    assert "flowguard promote meters VERSION" in found.remedy


def test_a_bundle_of_which_one_byte_was_changed(own: Path) -> None:
    champion = Workspace.open(own).registry.resolve("meters")
    # Other tests' versions may lie beside it: copies of one project write their artifacts to one folder.
    places = (own.parents[1] / "runs/mlartifacts").rglob("bundle/weights.safetensors")
    (weights,) = (path for path in places if champion.digest in (path.parent / "manifest.sha256").read_text())
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    found = only_fault(own, "pipeline meters: bundle")
    assert "weights.safetensors" in found.found
    assert "Restore the model's files from a backup" in found.remedy


def test_a_fetched_copy_of_which_one_byte_was_changed(own: Path) -> None:
    workspace = Workspace.open(own)
    copy = workspace.registry.fetch(workspace.registry.resolve("meters"), workspace.runs / ".bundles")
    (copy / "encoder.json").write_bytes((copy / "encoder.json").read_bytes() + b" ")
    found = only_fault(own, "pipeline meters: bundle")
    assert "the copy that scoring uses is damaged" in found.found
    assert found.remedy.startswith(f"rm -r {copy}")
    shutil.rmtree(copy)
    assert doctor([own]).well


def test_a_prefect_server_where_nobody_listens(own: Path, closed_port: int) -> None:
    rewrite(own, "resources:", "schedule: {cron: '0 5 * * *'}\nresources:")
    setting(own, f'prefect_api_url = "http://127.0.0.1:{closed_port}/api"')
    found = only_fault(own, "Prefect: server")
    assert "does not answer" in found.found
    assert "prefect server start" in found.remedy


def test_a_schedule_without_a_prefect_server(own: Path) -> None:
    rewrite(own, "resources:", "schedule: {cron: '0 5 * * *'}\nresources:")
    diagnosis = doctor([own])
    assert diagnosis.well
    assert "PREFECT_API_URL=" in faults(diagnosis, "warn")["Prefect: server"].remedy


def test_an_object_store_that_refuses_the_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "wrong"),
        ("AWS_SECRET_ACCESS_KEY", "wrong"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("MLFLOW_S3_ENDPOINT_URL", endpoint),
        ("FLOWGUARD_ARTIFACTS", "s3://models"),
    ):
        monkeypatch.setenv(name, value)
    pipeline = write_project(tmp_path / "project")
    try:
        bucket = boto3.resource("s3", endpoint_url=endpoint).create_bucket(Bucket="models")
        found = {one.name: one for one in doctor([pipeline]).findings}
        assert (found["artifacts"].state, found["artifacts"].found) == ("ok", "s3://models/meters may be written to")
        assert list(bucket.objects.all()) == []
        httpx.post(f"{endpoint}/moto-api/reset-auth", content=b"0")
        found = {one.name: one for one in doctor([pipeline]).findings}
        assert found["artifacts"].state == "fail"
        assert "InvalidAccessKeyId: it does not know this access key" in found["artifacts"].found
        assert "AWS_ACCESS_KEY_ID" in found["artifacts"].found
    finally:
        httpx.post(f"{endpoint}/moto-api/reset-auth", content=b"inf")
        server.stop()


def test_an_unknown_key_in_the_settings(own: Path) -> None:
    setting(own, 'tracking = "http://mlflow:5000"')
    found = only_fault(own, "project: settings")
    assert "unknown key `tracking` (did you mean `tracking_uri`?)" in found.found
    assert "docs/settings.md" in found.remedy


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(own: Path) -> None:
    rewrite(own, "resources: {threads: 1", "resources: {device: cuda, threads: 1")
    found = only_fault(own, "pipeline meters: device")
    assert "sees no CUDA device" in found.found
    assert "device: auto" in found.remedy


def test_a_desk_for_others_that_knows_no_user(own: Path) -> None:
    setting(own, 'desk_url = "https://desk.invalid"')
    found = faults(doctor([own]))
    assert set(found) == {"desk: desk", "desk: users"}
    assert "flowguard review" in found["desk: desk"].remedy
    assert found["desk: users"].remedy == "flowguard users add NAME --role reviewer --runs runs"
    add_user(own.parents[1] / "runs", "ada", "reviewer", None)
    assert set(faults(doctor([own]))) == {"desk: desk"}


def test_addresses_that_nobody_answers_at_or_that_are_none(
    own: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as hook:
        given = (hook.json_url, f"json://me:s3cr3t@127.0.0.1:{closed_port}/t0ken", "nonsense://s3cr3t", "ntfy://t0ken")
        monkeypatch.setenv("FLOWGUARD_NOTIFY", " ".join(given))
        diagnosis = doctor([own])
        assert hook.came == [], "nothing is sent"
    found = faults(diagnosis)
    assert set(found) == {"notifications: address 2", "notifications: address 3"}
    assert f"nobody answers at 127.0.0.1:{closed_port}" in found["notifications: address 2"].found
    assert "nonsense://*** is no address that apprise knows" in found["notifications: address 3"].found
    assert all("FLOWGUARD_NOTIFY, then: flowguard notify FILE --test" in one.remedy for one in found.values())
    well = {one.name: one.found for one in diagnosis.findings if one.group == "notifications" and one.state == "ok"}
    assert well == {
        "address 1": f"JSON at 127.0.0.1 (127.0.0.1:{hook.port} answers)",
        "address 4": "ntfy; whether it answers is seen when a message is sent",
    }
    assert not any(secret in str(diagnosis) for secret in ("s3cr3t", "t0ken"))


def test_addresses_in_a_file_that_others_may_read(own: Path) -> None:
    setting(own, 'notify = ["ntfy://t0ken"]')
    (own.parents[1] / "flowguard.toml").chmod(0o644)
    found = faults(doctor([own]), "warn")["project: settings"]
    assert "better: give notify as an environment variable" in found.remedy
    assert "t0ken" not in str(found)


def test_a_password_in_a_file_that_others_may_read(own: Path, closed_port: int) -> None:
    setting(own, f'store = "postgresql://me:secret@127.0.0.1:{closed_port}/flowguard"')
    file = own.parents[1] / "flowguard.toml"
    file.chmod(0o644)
    found = faults(doctor([own]), "warn")["project: settings"]
    assert f"chmod 600 {file}" in found.remedy
    assert "secret" not in str(found)


@pytest.mark.e2e
def test_servers_that_hang_hold_nothing_up(own: Path, silent_port: int) -> None:
    setting(
        own,
        f'tracking_uri = "http://127.0.0.1:{silent_port}"\n'
        f'prefect_api_url = "http://127.0.0.1:{silent_port}/api"\n'
        f'store = "postgresql://127.0.0.1:{silent_port}/flowguard"\n',
    )
    begun = time.monotonic()
    found = faults(doctor([own]))
    assert time.monotonic() - begun < 60
    assert set(found) == {"MLflow: registry", "Prefect: server", "store: store"}
    assert all(one.remedy for one in found.values())


# -- the parts that no real fault here can bring about ----------------------------------------------------------------


def test_a_check_that_hangs_is_given_up_and_what_depends_on_it_left_out() -> None:
    hanging = Check("group", "slow", lambda: time.sleep(5) or Answer("ok", ""), "Wake it.", seconds=0.1, gate=True)
    found = list(findings([hanging, Check("group", "next", lambda: Answer("ok", "fine"))]))
    assert [(one.name, one.state, one.remedy) for one in found] == [("slow", "fail", "Wake it.")]
    assert "no answer within" in found[0].found


def test_a_library_that_is_known_not_to_work_is_named_with_what_happens() -> None:
    wrong = list(_wrong([Requirement("fastapi<0.1"), Requirement("sqlalchemy<1"), Requirement("nosuchthing>1")], ()))
    assert [str(wanted) for _, wanted, _ in wrong] == ["fastapi<0.1", "sqlalchemy<1", "nosuchthing>1"]
    assert "stops at its first run" in wrong[0][2]
    assert "never fire" in wrong[1][2]
    assert wrong[2][0] == "nosuchthing is not installed"
    assert missing("review") == []
