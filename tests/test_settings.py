"""Settings: the environment beats the file, mistakes are named with file and key, passwords are never shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flowguard.cli.main import app
from flowguard.errors import SettingsError
from flowguard.registry import Registry
from flowguard.settings import FILE, NAMED, VARIABLES, Settings, masked, settings
from flowguard.stages.workspace import Workspace, store_address
from tests.conftest import write_project


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(text, encoding="utf-8")
    return folder


def test_without_any_there_are_defaults(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert (found.store, found.tracking_uri, found.prefect_api_url, found.log) == (None, None, None, "text")
    assert found.file is None
    assert found.shown() == {}


def test_the_environment_beats_the_file_and_each_value_knows_who_said_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write(tmp_path, 'store = "postgresql://db/one"\ntracking_uri = "http://mlflow:5000"\n')
    monkeypatch.setenv("FLOWGUARD_STORE", "postgresql://db/two")
    found = settings(project)
    assert (found.store, found.tracking_uri) == ("postgresql://db/two", "http://mlflow:5000")
    assert (found.origin("store"), found.origin("tracking_uri"), found.origin("log")) == ("FLOWGUARD_STORE", FILE, "")
    monkeypatch.setenv("FLOWGUARD_STORE", "")  # set to nothing is not set
    assert settings(project).store == "postgresql://db/one"


def test_the_file_is_the_projects_else_the_current_folders_or_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, project = write(tmp_path / "here", 'log = "json"'), tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(here)
    assert settings(project).file == here / FILE
    write(project, 'log_level = "ERROR"')
    assert (settings(project).log, settings(project).log_level) == ("text", "error")
    named = tmp_path / "production.toml"
    named.write_text('desk_url = "https://desk.example.org"')
    monkeypatch.setenv(NAMED, str(named))
    assert settings(project).desk_url == "https://desk.example.org"
    monkeypatch.setenv(NAMED, str(tmp_path / "none.toml"))
    with pytest.raises(SettingsError, match=r"none\.toml, which is not there"):
        settings(project)


def test_a_process_reads_a_file_once(tmp_path: Path) -> None:
    project = write(tmp_path, 'store = "postgresql://db/one"')
    before = settings(project)
    write(tmp_path, 'store = "postgresql://db/two"')
    assert settings(project) is before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('stroe = "x"', r"flowguard\.toml: found the unknown key `stroe` \(did you mean `store`\?\); expected one of"),
        ('MLFLOW_TRACKING_URI = "x"', r"`MLFLOW_TRACKING_URI` \(did you mean `tracking_uri`\?\)"),
        ('mlflow_tracking = "x"', r"did you mean `tracking_uri`"),
        ('[flowguard]\nlog = "json"', r"unknown key `flowguard`"),
        ("store = 5", r"flowguard\.toml: store: found 5; expected a text in quotes"),
        ('log = "yaml"', r"log: found 'yaml'; expected one of 'text' or 'json'"),
        ('desk_url = "desk:80"', r"desk_url: found 'desk:80'; expected an address with http:// or https://"),
        ("store = ", r"flowguard\.toml is no TOML: Invalid value"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_what_was_expected(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        settings(write(tmp_path, text))


def test_a_mistake_in_the_environment_names_the_variable_and_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "postgres://me:secret@host/api")
    with pytest.raises(SettingsError) as error:
        settings(tmp_path)
    assert str(error.value).startswith("PREFECT_API_URL: found 'postgres://me:***@host/api'")


def test_passwords_are_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWGUARD_STORE", "postgresql://me:pass/wo@rd@db/flowguard?password=hidden&x=1")
    found = settings(tmp_path)
    assert found.store is not None
    assert "pass/wo@rd" in found.store
    for text in (repr(found), str(found), str(found.shown()), f"{found}"):
        assert "wo@rd" not in text
        assert "pass/" not in text
        assert "hidden" not in text
        assert "postgresql://me:***@db/flowguard" in text
    assert masked("no address at all") == "no address at all"


def test_addresses_are_listed_in_the_file_or_one_after_the_other_in_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings(tmp_path).notify == ()
    project = write(tmp_path / "project", 'notify = ["slack://a/b/c", "mailto://me:pw@x.org?to=a@x.org,b@x.org"]')
    assert settings(project).notify == ("slack://a/b/c", "mailto://me:pw@x.org?to=a@x.org,b@x.org")
    monkeypatch.setenv("FLOWGUARD_NOTIFY", " slack://a/b/c, mailto://me:pw@x.org?to=a@x.org,b@x.org\njson://h/p ")
    found = settings(project)
    assert found.notify == ("slack://a/b/c", "mailto://me:pw@x.org?to=a@x.org,b@x.org", "json://h/p")
    assert found.origin("notify") == "FLOWGUARD_NOTIFY"


def test_addresses_are_secrets_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWGUARD_NOTIFY", "slack://T0KEN/5ECRET/s3cr3t json://hooks.example.org/s3cr3t")
    found = settings(tmp_path)
    assert found.shown()["notify"] == ("slack://***, json://***", "FLOWGUARD_NOTIFY")
    assert found.holds_secret("notify")
    for text in (repr(found), str(found.shown())):
        assert not any(secret in text for secret in ("T0KEN", "5ECRET", "s3cr3t", "hooks"))
    for wrong in ("s3cr3t", "slack:/T0KEN/s3cr3t"):
        monkeypatch.setenv("FLOWGUARD_NOTIFY", wrong)
        with pytest.raises(SettingsError, match=r"FLOWGUARD_NOTIFY: found something else; expected addresses") as error:
            settings(tmp_path)
        assert "s3cr3t" not in str(error.value)
    monkeypatch.delenv("FLOWGUARD_NOTIFY")
    with pytest.raises(SettingsError, match=r"flowguard\.toml: notify: .* expected a list of addresses in quotes"):
        settings(write(tmp_path / "wrong", "notify = 5"))


def test_relative_paths_of_the_file_start_at_its_folder(tmp_path: Path) -> None:
    text = 'store = "sqlite:///kept/flowguard.db"\ntracking_uri = "sqlite:////data/mlflow.db"\nartifacts = "files"'
    found = settings(write(tmp_path, text))
    assert found.store == f"sqlite:///{tmp_path}/kept/flowguard.db"
    assert found.tracking_uri == "sqlite:////data/mlflow.db"
    assert found.artifacts == str(tmp_path / "files")
    assert settings(write(tmp_path / "s3", 'artifacts = "s3://bucket/models"')).artifacts == "s3://bucket/models"


def test_what_others_read_is_put_into_their_variables_unless_the_user_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREFECT_API_URL", "AWS_ENDPOINT_URL_S3", "MLFLOW_S3_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    text = 'prefect_api_url = "http://prefect:4200/api"\ns3_endpoint = "http://s3:9000"\n'
    one, other = write(tmp_path / "one", text), write(tmp_path / "other", 'log = "json"')
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://mine:9000")
    settings(one)
    assert os.environ["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert "AWS_ENDPOINT_URL_S3" not in os.environ
    assert settings(one).origin("prefect_api_url") == FILE
    settings(other)  # another project's file says nothing of it
    assert "PREFECT_API_URL" not in os.environ


def test_the_workspace_takes_them_from_its_own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_project(tmp_path / "project")
    write(path.parents[1], 'store = "sqlite:///my.db"\ntracking_uri = "sqlite:///my-mlflow.db"\nartifacts = "files"\n')
    root = path.parents[1]
    monkeypatch.chdir(tmp_path)
    workspace = Workspace.open(path)
    assert workspace.registry.tracking_uri == f"sqlite:///{root}/my-mlflow.db"
    assert workspace.registry.artifact_root == str(root / "files")
    assert workspace.store.address == f"sqlite:///{root}/my.db"
    # So do commands that know the output folder alone.
    assert Registry.at(Path("project/runs")).tracking_uri == workspace.registry.tracking_uri
    assert store_address(Path("project/runs")) == f"sqlite:///{root}/my.db"


def test_people_are_sent_to_the_desk_that_the_settings_name(project: Path) -> None:
    write(project.parents[1], 'desk_url = "https://desk.example.org"')
    done = CliRunner().invoke(app, ["score", str(project), "--batch", "part0"])
    assert done.exit_code == 0, done.output
    assert "  open https://desk.example.org\n" in done.output


def test_every_setting_is_in_the_manual() -> None:
    page = (Path(__file__).parents[1] / "docs/settings.md").read_text(encoding="utf-8")
    for name in (*Settings.model_fields, *VARIABLES, NAMED):
        assert f"`{name}`" in page, name


def test_reading_them_loads_nothing_slow() -> None:
    code = "import sys, flowguard.settings; print([m for m in ('torch', 'mlflow', 'prefect') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", ["store", "log", "artifacts"])
def test_a_variable_that_only_has_the_name_of_a_key_is_none_of_ours(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/var/log")
    found = settings(tmp_path)
    assert (found.store, found.log, found.artifacts) == (None, "text", None)
