"""Addresses: what can be a store, how it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowguard.errors import InputError
from flowguard.store.address import parsed, shown, sqlite_path


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_postgresql_is_one_kind_whatever_driver_is_named(scheme: str) -> None:
    address = parsed(f"{scheme}://me:secret@db:5433/flowguard?sslmode=require&password=secret")
    assert address.drivername == "postgresql+psycopg"
    assert address.password == "secret"
    assert shown(address) == "postgresql://me:***@db:5433/flowguard?sslmode=require"
    assert sqlite_path(address) is None


def test_a_file_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sqlite_path(parsed("sqlite:///a file.db")) == tmp_path / "a file.db"
    assert sqlite_path(parsed("sqlite:///file:x.db?mode=ro&uri=true")) == tmp_path / "x.db"


@pytest.mark.parametrize("url", ["flowguard.db", "/tmp/flowguard.db", "", "postgresql://me:sec/ret@db:port/x"])
def test_what_is_no_url_is_told_with_what_is(url: str) -> None:
    with pytest.raises(InputError, match=r"sqlite:////absolute/path/flowguard\.db") as caught:
        parsed(url)
    assert "sec/ret" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_memory_is_no_store(url: str) -> None:
    with pytest.raises(InputError, match="would be lost"):
        parsed(url)


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(InputError, match="a store is SQLite or PostgreSQL"):
        parsed("mysql://me:secret@db/x")
