from __future__ import annotations

import os
import socket
import sqlite3
import time
from pathlib import Path

import pytest

from flowguard.errors import FlowguardError, RegistryError
from flowguard.registry import Registry, connection
from flowguard.registry.connection import import_mlflow, probe, shown, told


def refused(uri: str) -> FlowguardError:
    started = time.monotonic()
    with pytest.raises(FlowguardError) as error:
        Registry(uri).versions()
    assert time.monotonic() - started < 10
    return error.value


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def test_a_server_that_is_not_there_is_told_at_once(closed_port: int) -> None:
    error = refused(f"http://127.0.0.1:{closed_port}")
    assert error.exit_code == 1
    assert "does not answer" in str(error)
    assert "MLFLOW_TRACKING_URI" in str(error)


def test_a_server_that_accepts_and_stays_silent_is_told_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "PROBE_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "does not answer" in str(refused(f"http://127.0.0.1:{silent.getsockname()[1]}"))


def test_a_database_server_that_is_not_there_is_told_without_its_password(closed_port: int) -> None:
    error = refused(f"postgresql://me:secret@127.0.0.1:{closed_port}/mlflow")
    assert "does not answer" in str(error)
    assert "secret" not in str(error)


def test_a_damaged_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database" * 1000)
    error = refused(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert "cannot be read" in str(error)
    assert str(tmp_path / "mlflow.db") in str(error)


def test_a_locked_database_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PROBE_SECONDS", 0.1)
    path = tmp_path / "mlflow.db"
    holder = sqlite3.connect(path)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    assert "locked by another process" in str(refused(f"sqlite:///{path}"))
    holder.close()


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "./mlruns"])
def test_a_folder_is_no_registry(uri: str) -> None:
    error = refused(uri)
    assert error.exit_code == 2
    assert "sqlite:////absolute/path/mlflow.db" in str(error)


def test_a_database_address_that_is_a_folder_or_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="is a folder"):
        probe(f"sqlite:///{tmp_path}")
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryError, match="cannot be created"):
        probe(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")


def test_failures_from_outside_are_told_and_mistakes_of_our_own_keep_their_traceback() -> None:
    with pytest.raises(FlowguardError, match=r"could not be read: disk full\."), told("sqlite:///x", "read"):
        raise OSError("disk full")
    with pytest.raises(ZeroDivisionError), told("sqlite:///x", "read"):
        _ = 1 / 0


def test_passwords_are_not_shown() -> None:
    assert shown("https://user:p4ss@host:5000/x") == "https://user:***@host:5000/x"
    assert shown("sqlite:////data/mlflow.db") == "sqlite:////data/mlflow.db"


def test_the_environment_is_quiet_and_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    import_mlflow()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
