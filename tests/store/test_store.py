"""Opening a store: from nothing, by many at once, from another release, and what cannot be opened."""

from __future__ import annotations

import os
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command

from flowguard.errors import FlowguardError, InputError, StoreError
from flowguard.store import Store, database
from flowguard.store.schema import HEAD, METADATA, REVISIONS
from tests.store import laws

NOBODY = 65534


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder with a SQLite file that may be read but not written to, by a user who is not root for once."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(sqlite3.connect(folder / "there.db")) as base, base:
            base.execute("CREATE TABLE other (x TEXT)")
        (folder / "there.db").chmod(0o444)
        folder.chmod(0o555)
        if root:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o700)


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as base:
        return {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_a_store_is_made_with_its_folder_and_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "not yet" / "there" / "flowguard.db"
    assert Store.open(f"sqlite:///{path}").batches.of("meters") == []
    assert tables(path) == {*METADATA.tables, REVISIONS}
    assert repr(Store.open(f"sqlite:///{path}")) == f"Store(address='sqlite:///{path}')"


def test_a_relative_file_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store.open("sqlite:///flowguard.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store.batches.of("meters") == []
    assert list(Path.cwd().iterdir()) == []


def test_the_file_is_in_write_ahead_mode(store: Store) -> None:
    with store.database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_models_and_migrations_agree(store: Store) -> None:
    laws.models_and_migrations_agree(store)


def test_the_newest_revision_is_the_one_that_the_code_names() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_first_opens_may_race(url: str) -> None:
    laws.first_opens_may_race(url)


def test_an_upgrade_that_fails_leaves_nothing(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = command.upgrade

    def broken(*arguments: object) -> None:
        whole(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "upgrade", broken)
        with pytest.raises(KeyboardInterrupt):
            Store.open(url)
    assert tables(tmp_path / "flowguard.db") == set()
    assert Store.open(url).batches.of("meters") == []


def test_a_store_of_a_newer_flowguard_is_refused(url: str, store: Store, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "flowguard.db")) as base, base:
        base.execute(f"UPDATE {REVISIONS} SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer flowguard") as caught:
        Store.open(url)
    for word in (url, "9999", HEAD, "Upgrade flowguard"):
        assert word in str(caught.value)


def test_tables_of_somebody_else_are_left_alone(url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "flowguard.db")) as base, base:
        base.execute("CREATE TABLE batches (mine TEXT)")
    with pytest.raises(StoreError, match=r"did not make \(batches\)"):
        Store.open(url)
    assert tables(tmp_path / "flowguard.db") == {"batches"}


def test_a_database_with_other_tables_and_revisions_may_be_shared(url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "flowguard.db")) as base, base:
        base.execute("CREATE TABLE alembic_version (version_num TEXT)")
        base.execute("INSERT INTO alembic_version VALUES ('of mlflow')")
    assert Store.open(url).batches.of("meters") == []


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_file_that_is_no_database_is_told_and_kept(url: str, tmp_path: Path, size: int) -> None:
    path = tmp_path / "flowguard.db"
    path.write_bytes(b"x" * size)
    with pytest.raises(StoreError, match="no SQLite database") as caught:
        Store.open(url)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"x" * size


def test_a_store_that_is_read_only_can_be_read_and_says_so_when_written_to(store: Store, tmp_path: Path) -> None:
    fixed = Store.open(f"sqlite:///file:{tmp_path / 'flowguard.db'}?mode=ro&uri=true")
    assert fixed.aliases.of("meters") == []
    with pytest.raises(StoreError, match="read-only") as caught:
        fixed.aliases.record("meters", "champion", expected_from=None, to=1, who="ada", why="the first")
    assert "Let this user write" in str(caught.value)


def test_a_read_only_file_without_a_store_is_told(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(StoreError, match="read-only"):
        Store.open(f"sqlite:///file:{tmp_path / 'empty.db'}?mode=ro&uri=true")


def test_a_folder_or_file_that_this_user_may_not_write_to_is_told(closed_folder: Path) -> None:
    with pytest.raises(StoreError, match="folder cannot be made"):
        Store.open(f"sqlite:///{closed_folder / 'folder' / 'flowguard.db'}")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(f"sqlite:///{closed_folder / 'flowguard.db'}")
    with pytest.raises(StoreError, match="read-only"):
        Store.open(f"sqlite:///{closed_folder / 'there.db'}")


def test_a_folder_in_the_place_of_the_file_or_a_file_in_that_of_the_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        Store.open(f"sqlite:///{tmp_path}")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="folder cannot be made"):
        Store.open(f"sqlite:///{tmp_path / 'file' / 'flowguard.db'}")


def test_a_store_that_another_process_holds_is_told(
    url: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.1)
    impatient = Store.open(url)
    with closing(sqlite3.connect(tmp_path / "flowguard.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert impatient.aliases.of("meters") == []  # reading goes on
        with pytest.raises(StoreError, match="another process has held it"):
            impatient.aliases.record("meters", "champion", expected_from=None, to=1, who="ada", why="the first")


def test_a_server_that_does_not_answer_is_told_without_its_password() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(StoreError, match="does not answer") as caught:
        Store.open(f"postgresql://me:secret@127.0.0.1:{port}/flowguard")
    assert time.monotonic() - started < 30
    assert f"postgresql://me:***@127.0.0.1:{port}/flowguard" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'flowguard\[postgres\]'"):
        Store.open("postgresql://me:secret@127.0.0.1/flowguard")


def test_every_error_of_an_address_is_an_error_of_flowguard() -> None:
    for url in ("", "flowguard.db", "sqlite://", "sqlite:///:memory:", "mysql://me:secret@db/x", "postgresql://h:port"):
        with pytest.raises(FlowguardError) as caught:
            Store.open(url)
        assert "secret" not in str(caught.value)
