"""A database as the store uses it: transactions that read one state, and transactions that write one at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, func, select, text

from flowguard.errors import InputError, StoreError
from flowguard.store.address import shown, sqlite_path
from flowguard.store.trouble import LOCKED, told

WAIT_SECONDS = 60  # for whoever else is writing
CONNECT_SECONDS = 10
_BEGIN = "flowguard_begin"


@dataclass(frozen=True)
class Database:
    """Connections are opened for one transaction and closed after it, so that a store may cross threads and forks.

    A pooled one (`connected`) keeps them, and may not be used after a fork.
    """

    engine: Engine
    address: str

    @property
    def sqlite(self) -> bool:
        """Whether this is SQLite; else it is PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database, however many questions it asks."""
        options: dict[str, Any] = {} if self.sqlite else {"isolation_level": "REPEATABLE READ"}
        with (
            told(self.address, "read"),
            self.engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def writing(self, lock: str, *also: str) -> Iterator[Connection]:
        """A transaction that is committed as a whole at the end, or not at all when the block raises or is killed.

        Transactions with a lock in common run one after the other, whichever process or machine they run in. On SQLite
        all that write do.
        """
        with (
            told(self.address, "written to"),
            self.engine.connect().execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}) as connection,
            connection.begin(),
        ):
            if not self.sqlite:
                connection.execute(text(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"))
                for one in (lock, *also):
                    connection.execute(select(func.pg_advisory_xact_lock(_number(one))))
            yield connection


def connected(address: URL, *, pooled: bool = False) -> Database:
    """The database at a parsed `address`; a SQLite file and its folder are made, PostgreSQL is not yet asked.

    With `pooled` connections to PostgreSQL are kept, for a process that asks all the time and does not fork.

    Raises `InputError` for a folder in the place of a file, `StoreError` when the file cannot be made or opened or
    the driver of PostgreSQL is missing.
    """
    path = sqlite_path(address)
    if path is None:
        return Database(engine_of(address, pooled=pooled), shown(address))
    if path.is_dir():
        raise InputError(f"The store {shown(address)} is a folder. Name a file in it: sqlite:///{path}/flowguard.db")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The store {shown(address)} cannot be created: its folder cannot be made ({error.strerror}). "
            "Name a file in a folder that this user can write to."
        ) from None
    database = Database(engine_of(address), shown(address))
    _write_ahead(database)
    return database


def engine_of(address: URL, *, pooled: bool = False, wait: float | None = None) -> Engine:
    """How `address` is spoken to; nothing is made and nobody is asked yet. `wait` for who else writes to SQLite."""
    if sqlite_path(address) is None:
        return _postgresql(address, pooled=pooled)
    return _sqlite(address, wait)


def _postgresql(address: URL, *, pooled: bool) -> Engine:
    given = {"connect_timeout": CONNECT_SECONDS} if "connect_timeout" not in address.query else {}
    try:
        # Each statement after the lock must see what the one before us committed.
        level = "READ COMMITTED"
        if pooled:
            return create_engine(address, pool_pre_ping=True, connect_args=given, isolation_level=level)
        return create_engine(address, poolclass=NullPool, connect_args=given, isolation_level=level)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"The store {shown(address)} is a PostgreSQL database, whose driver is not installed ({error}). "
            "Run `pip install 'flowguard[postgres]'`."
        ) from None


def _sqlite(address: URL, wait: float | None) -> Engine:
    patience = WAIT_SECONDS if wait is None else wait
    engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": patience})

    @event.listens_for(engine, "connect")
    def _plain(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # Python's driver begins by itself otherwise, and too late
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes then would fail, not wait, when another wrote in between.
        statement = connection.get_execution_options().get(_BEGIN, "BEGIN")
        if statement:
            connection.exec_driver_sql(statement)

    return engine


def _write_ahead(database: Database) -> None:
    """Let readers and a writer work at once. SQLite does not wait for others with this switch, so we do."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            with (
                told(database.address, "opened"),
                database.engine.connect().execution_options(**{_BEGIN: ""}) as connection,
            ):
                if connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            return
        except StoreError as error:
            if not LOCKED.search(str(error)) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _number(lock: str) -> int:
    """PostgreSQL's advisory locks are 64-bit numbers."""
    return int.from_bytes(sha256(f"flowguard {lock}".encode()).digest()[:8], "big", signed=True)
