"""The store in a real PostgreSQL server: the laws that hold in SQLite, and what a server alone can complain about."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from flowguard.errors import StoreError
from flowguard.store import Alarm, DriftRecord, ScoredBatch, Store, database
from flowguard.store.schema import METADATA, REVISIONS
from tests.e2e.process import Running, plain_environment, running, wait_until
from tests.store import laws

pytestmark = pytest.mark.e2e

PASSWORD = "se:cr@t/%41"
QUOTED = "se%3Acr%40t%2F%2541"
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server for these tests alone."""

    port: int
    process: Running

    def url(self, base: str, *, user: str = "owner", password: str = QUOTED) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{base}"

    def run(self, *statements: str, base: str = "postgres") -> None:
        with psycopg.connect(self.url(base), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def new(self) -> str:
        """A database with nothing in it."""
        name = f"store{next(NUMBERS)}"
        self.run(f"CREATE DATABASE {name}")
        return name


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert found, "these tests need PostgreSQL: `apt-get install postgresql`, as .ci/run does"
    binaries = found[-1].parent
    # PostgreSQL refuses to run as root; its user cannot look into pytest's folders.
    become = [] if os.geteuid() else ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    folder = Path(tempfile.mkdtemp(prefix="flowguard-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if become:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        data = folder / "data"
        options = ["--username=owner", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        make = [*become, binaries / "initdb", "--pgdata", data, "--pwfile", folder / "password", *options]
        made = subprocess.run(make, cwd=folder, capture_output=True, text=True, timeout=120)
        assert made.returncode == 0, made.stdout + made.stderr
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        serve = [*become, binaries / "postgres", "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
        log = tmp_path_factory.mktemp("postgres") / "log.txt"
        with running(serve, cwd=folder, environment=plain_environment(), log=log) as process:
            started = Server(port, process)

            def answers() -> bool:
                try:
                    started.run("SELECT 1")
                except psycopg.OperationalError:
                    return False
                return True

            wait_until(answers, 60, "PostgreSQL", by=process, every=0.1)
            yield started
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def url(server: Server) -> str:
    return server.url(server.new())


def test_first_opens_may_race(url: str) -> None:
    laws.first_opens_may_race(url)


def test_racing_decisions_are_in_one_order(url: str) -> None:
    laws.racing_decisions_are_in_one_order(url)


def test_of_racing_changes_one_wins(url: str) -> None:
    laws.of_racing_changes_one_wins(url)


def test_of_processes_that_tell_the_same_at_once_one_does(url: str) -> None:
    laws.of_racing_messages_one_is_sent(url)


def test_of_racing_verdicts_one_wins(url: str) -> None:
    laws.of_racing_verdicts_one_wins(url)


def test_verdicts_are_kept_as_they_were_given(url: str) -> None:
    laws.verdicts_are_kept_as_they_were_given(url)


def test_a_case_is_decided_whole_or_not_at_all(url: str) -> None:
    laws.a_case_is_decided_whole_or_not_at_all(url)


def test_users_are_kept_and_removed(url: str) -> None:
    laws.users_are_kept_and_removed(url)


def test_a_batch_is_taken_by_one_at_a_time(url: str) -> None:
    laws.a_batch_is_taken_by_one_at_a_time(url)


def test_a_killed_decision_spends_nothing(url: str, tmp_path: Path) -> None:
    laws.a_killed_decision_spends_nothing(url, tmp_path)


def test_what_is_put_is_read_and_put_again(url: str) -> None:
    store, at = Store.open(url), datetime(2026, 3, 2, 5, 0, 0, 123456, tzinfo=UTC)
    batch = ScoredBatch("meters", "2026-03-01", 1, "b", "f", 3_000_000_002, 3_000_000_000, 7, 2, {"fdr": 0.1}, at)
    drift = DriftRecord("meters", "2026-03-01", 1, {"power": 0.31}, (Alarm("power", "ks", 0.31),) * 2, at)
    for _ in range(2):
        store.batches.put(batch)
        store.drift.put(drift)
    assert store.batches.of("meters") == [batch]
    assert store.drift.of("meters", alarmed=True) == [drift]
    for later in (replace(batch, flagged=8), batch):
        store.batches.put(later)
        store.drift.put(replace(drift, alarms=()))
    assert store.batches.of("meters") == [batch]
    assert store.drift.of("meters", alarmed=True) == []


def test_the_address_may_name_another_driver_and_shows_no_password(server: Server) -> None:
    base = server.new()
    store = Store.open(server.url(base).replace("postgresql:", "postgresql+psycopg2:"))
    assert repr(store) == f"Store(address='postgresql://owner:***@127.0.0.1:{server.port}/{base}')"


def test_a_database_that_others_use_keeps_their_revisions(server: Server) -> None:
    base = server.new()
    server.run("CREATE TABLE alembic_version (version_num TEXT)", base=base)
    Store.open(server.url(base))
    with psycopg.connect(server.url(base)) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert {name for (name,) in tables} == {"alembic_version", REVISIONS, *METADATA.tables}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "wr0ng"}, ["does not answer or refuses", "authentication failed"]),
        ({"base": "nowhere"}, ['"nowhere" does not exist', "createdb"]),
    ],
)
def test_what_the_server_refuses_is_told_without_the_password(
    server: Server, change: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(server.url(**{"base": "postgres", **change}))
    text = str(caught.value)
    assert all(word in text for word in words)
    assert not any(secret in text for secret in (PASSWORD, QUOTED, "wr0ng"))


def test_a_user_without_rights_is_told(server: Server) -> None:
    base = server.new()
    server.run("CREATE ROLE guest LOGIN PASSWORD 'guest'", base=base)
    server.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC", base=base)
    with pytest.raises(StoreError, match=r"permission denied.*the right to create"):
        Store.open(server.url(base, user="guest", password="guest"))


def test_a_server_that_only_reads_is_told(server: Server) -> None:
    base = server.new()
    Store.open(server.url(base))
    server.run(f"ALTER DATABASE {base} SET default_transaction_read_only = on")
    with pytest.raises(StoreError, match="primary server"):
        Store.open(server.url(base)).aliases.record(
            "meters", "champion", expected_from=None, to=1, who="ada", why="the first"
        )


def test_a_store_of_a_newer_flowguard_is_refused(server: Server) -> None:
    base = server.new()
    Store.open(server.url(base))
    server.run(f"UPDATE {REVISIONS} SET version_num = '9999'", base=base)
    with pytest.raises(StoreError, match="newer flowguard"):
        Store.open(server.url(base))


def test_a_lock_that_another_holds_for_too_long_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 1)
    store = Store.open(url)
    with (
        store.database.writing(lock="budgets meters\0fdr 0.1"),
        pytest.raises(StoreError, match="another process has held it"),
    ):
        store.budgets.reserve("meters", "fdr 0.1", batch="a", records=1, decide=lambda t, before: (0, 0.1))
    other = store.budgets.reserve("meters", "fdr 0.2", batch="a", records=1, decide=lambda t, before: (0, 0.1))
    assert other.t == 1


def test_a_server_that_goes_away_is_told(server: Server) -> None:
    store = Store.open(server.url(server.new()))
    server.process.stop()
    with pytest.raises(StoreError, match="does not answer"):
        store.batches.of("meters")
