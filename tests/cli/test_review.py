"""`flowguard review` and `flowguard users`: who is let in, where, and what is said when nobody is."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flowguard.cli.main import app
from flowguard.review.web.desk import Desk
from flowguard.stages.workspace import store_in
from tests.conftest import PIPELINE

PASSWORD = "correct horse battery"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project, and the current one; nothing was trained in it."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/meters.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def done(*arguments: str, stdin: str | None = None) -> str:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str, stdin: str | None = None) -> str:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("flowguard: ")
    assert result.stdout == ""
    return result.stderr


def add(name: str, role: str = "reviewer") -> str:
    return done("users", "add", name, "--role", role, "--password-stdin", stdin=f"{PASSWORD}\n")


# -- users -----------------------------------------------------------------------------------------------------------


def test_users_are_added_changed_and_removed(folder: Path) -> None:
    assert "There are no users yet" in done("users")
    assert "ada is reviewer." in add("ada")
    before = store_in(folder / "runs").users.find("ada")
    assert before is not None
    assert PASSWORD not in repr(before)
    assert "bob is viewer, without a password" in done("users", "add", "bob", "--role", "viewer", "--no-password")
    table = done("users")
    assert re.search(r"ada +reviewer +yes", table)
    assert re.search(r"bob +viewer +no", table)
    assert [line["name"] for line in json.loads(done("users", "--json"))] == ["ada", "bob"]
    assert "argon2" not in done("users", "--json")
    assert "ada is admin." in done("users", "add", "ada", "--role", "admin", "--no-password")
    after = store_in(folder / "runs").users.find("ada")
    assert after is not None
    assert (after.role, after.password) == ("admin", before.password), "the password is kept"
    done("users", "passwd", "ada", "--password-stdin", stdin=f"{PASSWORD}!\r\n")
    changed = store_in(folder / "runs").users.find("ada")
    assert changed is not None
    assert changed.password != before.password
    assert "What they decided stays" in done("users", "remove", "ada")
    assert [line["name"] for line in json.loads(done("users", "--json"))] == ["bob"]


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (("add",), None, "takes a name"),
        (("list", "ada"), None, "takes no name"),
        (("add", "ada"), None, "A user has a role"),
        (("passwd", "bob"), None, "There is no user 'bob'"),
        (("remove", "bob"), None, "it knows nobody yet"),
        (("remove", "ada", "--role", "admin"), None, "--role goes with add"),
        (("passwd", "ada", "--no-password"), None, "--no-password goes with add"),
        (("add", "ada", "--role", "viewer"), None, "no terminal to ask"),
        (("add", "ada", "--role", "viewer", "--password-stdin"), "short\n", "at least 12"),
        (("add", "ada", "--role", "viewer", "--password-stdin"), "", "has 0 characters"),
        (("add", " ada", "--role", "viewer", "--no-password"), None, "does not serve"),
    ],
)
def test_what_makes_no_user_is_refused(folder: Path, arguments: tuple[str, ...], stdin: str | None, words: str) -> None:
    assert words in refused("users", *arguments, stdin=stdin)
    assert store_in(folder / "runs").users.all() == []


# -- the desk --------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Desk]:
    """The desks that would have been served."""
    desks: list[Desk] = []

    def served(desk: Desk, listener: Any, ready: Any) -> None:
        desks.append(desk)
        ready()
        listener.close()

    monkeypatch.setattr("flowguard.review.web.serve.serve", served)
    return desks


def test_without_users_it_opens_for_this_machine_alone(folder: Path, opened: list[Desk]) -> None:
    said = done("review", "--port", "0")
    assert re.search(r"The desk is open: http://127\.0\.0\.1:\d+/", said)
    assert "Pipelines: meters." in said
    assert "so does whoever else uses this machine" in said
    document = json.loads(done("review", "--port", "0", "--json"))
    assert document["url"].startswith("http://127.0.0.1:")
    assert (document["access"], list(document["pipelines"])) == ("open", ["meters"])
    desk, _ = opened
    assert (desk.mode, desk.root, desk.runs) == ("open", folder, folder / "runs")
    for host in ("0.0.0.0", "10.0.0.7"):
        words = refused("review", "--host", host, "--allowed-host", "desk.org")
        assert "nobody would be asked who they are" in words
        assert "flowguard users add NAME --role reviewer --runs runs" in words
        assert words == refused("review", "--host", host, "--access", "open")
    for option in (("--https",), ("--allowed-host", "desk.org"), ("--trusted-proxy", "10.0.0.2")):
        assert f"With {option[0]} others than this machine reach the desk" in refused("review", *option)
    assert "Add one first: `flowguard users add" in refused("review", "--access", "password")
    assert len(opened) == 2


def test_with_users_their_passwords_are_asked_for(folder: Path, opened: list[Desk]) -> None:
    add("ada")
    assert "Users log in" in done("review", "--port", "0")
    said = done("review", "--port", "0", "--host", "0.0.0.0", "--allowed-host", "desk.org")
    assert "Passwords travel unencrypted here" in said
    assert "http://desk.org:" in said
    done("review", "--port", "0", "--access", "open")
    assert [desk.mode for desk in opened] == ["password", "password", "open"]
    assert "nobody would be asked" in refused("review", "--host", "0.0.0.0", "--access", "open")


def test_a_proxy_must_be_named(folder: Path, opened: list[Desk]) -> None:
    done("users", "add", "ada", "--role", "viewer", "--no-password")
    assert "pass --access proxy" in refused("review")
    assert "--trusted-proxy 127.0.0.1" in refused("review", "--access", "proxy")
    assert "no address of a proxy" in refused("review", "--access", "proxy", "--trusted-proxy", "nginx")
    options = ("--access", "proxy", "--trusted-proxy", "10.0.0.2", "--proxy-header", "Remote-User")
    said = done("review", "--port", "0", *options, "--https", "--allowed-host", "desk.org")
    assert "The desk is open: https://desk.org/" in said
    assert "the header Remote-User from 10.0.0.2; others than the users are refused" in said
    done("review", "--port", "0", *options, "--proxy-role", "viewer")
    assert [(desk.mode, desk.header, desk.proxy_role) for desk in opened] == [
        ("proxy", "Remote-User", None),
        ("proxy", "Remote-User", "viewer"),
    ]


def test_without_pipelines_it_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such file" in refused("review", "none.yaml")
    monkeypatch.chdir(folder / "pipelines")
    assert "flowguard init" in refused("review")


def test_without_the_extra_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("flowguard.review.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asgi_csrf", None)
    assert "pip install 'flowguard[review]'" in refused("review")


@contextmanager
def desk_process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A desk in a process of its own, and the first line that it says."""
    command = [sys.executable, "-m", "flowguard.cli.main", "review", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            yield process, line
        finally:
            process.kill()


def get(url: str) -> HTTPResponse:
    answer: HTTPResponse = urllib.request.urlopen(url, timeout=10)
    return answer


@pytest.mark.e2e
def test_it_serves_until_it_is_interrupted_and_leaves_in_peace(folder: Path) -> None:
    with desk_process(folder) as (process, line):
        found = re.search(r"http://[^/]+/", line)
        assert found is not None
        answer = get(found[0] + "login")
        assert answer.status == 200
        assert answer.headers["server"] is None
        assert "flowguard" in answer.read().decode()
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=20)
        assert (process.returncode, error) == (0, "")
        assert out.endswith("The desk is closed.\n")
