"""How a store is, found out without making, upgrading or changing anything in it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, inspect, text

from flowguard.errors import InputError, StoreError
from flowguard.store.address import parsed, shown, sqlite_path
from flowguard.store.database import Database, engine_of
from flowguard.store.schema import HEAD, METADATA
from flowguard.store.upgrade import newer, revision, revisions

WAIT_SECONDS = 4
Tables = Literal["current", "older", "none", "no database"]


@dataclass(frozen=True)
class Health:
    """A store that can be used. `tables` are those of this flowguard, of an older one, or not made yet.

    `skew` is by how many seconds the server's clock is ahead of this machine's, None for a file; `seconds` is how
    long one question took.
    """

    address: str
    tables: Tables
    revision: str | None
    skew: float | None
    seconds: float


def health(url: str) -> Health:
    """The health of the store at `url`; raises `StoreError` or `InputError` when it cannot be used, with the remedy."""
    address = parsed(url)
    path = sqlite_path(address)
    if path is None:
        if "connect_timeout" not in address.query:
            address = address.update_query_dict({"connect_timeout": str(WAIT_SECONDS)})
    elif path.is_dir():
        raise InputError(f"The store {shown(address)} is a folder. Name a file in it: sqlite:///{path}/flowguard.db")
    elif not path.exists():
        above = next(folder for folder in path.parents if folder.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise StoreError(
                f"The store {shown(address)} cannot be created: {above} is not a folder that this user can write to. "
                "Name a file in another, or let this user write there."
            )
        return Health(shown(address), "no database", None, None, 0.0)
    named = shown(parsed(url))
    database = Database(engine_of(address, wait=WAIT_SECONDS), named)
    begun = time.perf_counter()
    with database.reading() as connection:
        found = revision(connection)
        seconds = time.perf_counter() - begun
        if found is not None and found != HEAD and found not in revisions():
            raise StoreError(newer(named, found))
        skew = None if database.sqlite else _skew(connection)
        if not database.sqlite:
            _may_write(connection, found, named)
    if database.sqlite:
        with database.writing(lock="health"):  # the lock that every writer takes; nothing is written
            pass
    tables: Tables = "none" if found is None else "current" if found == HEAD else "older"
    return Health(named, tables, found, skew, seconds)


def _skew(connection: Connection) -> float:
    before = datetime.now(UTC)
    theirs: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    after = datetime.now(UTC)
    return (theirs - (before + (after - before) / 2)).total_seconds()


def _may_write(connection: Connection, found: str | None, named: str) -> None:
    if connection.execute(text("SHOW transaction_read_only")).scalar() == "on":
        raise StoreError(
            f"The store {named} is read-only: it is a standby, or its sessions are. Connect to the primary server."
        )
    if found is None:
        allowed = connection.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")).scalar()
        missing = [] if allowed else ["create tables"]
    else:
        there = sorted(set(inspect(connection).get_table_names()) & set(METADATA.tables))
        asked = text("SELECT has_table_privilege(quote_ident(:name), 'INSERT')")
        missing = [f"write to {name}" for name in there if not connection.execute(asked, {"name": name}).scalar()]
    if missing:
        raise StoreError(
            f"The store {named} cannot be written to: this user may not {', '.join(missing)}. Let its owner GRANT ALL "
            "ON ALL TABLES IN SCHEMA public to this user, or connect as the owner."
        )
