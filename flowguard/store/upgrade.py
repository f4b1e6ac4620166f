"""Bring a database to the schema of this flowguard, once, however many processes open it at the same time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table

from flowguard.errors import StoreError
from flowguard.store.database import Database
from flowguard.store.schema import HEAD, METADATA, REVISIONS

if TYPE_CHECKING:
    from alembic.config import Config

# alembic keeps the migration that runs in module globals.
_ONE_THREAD = threading.Lock()


def upgrade(database: Database) -> None:
    """Run the revisions that `database` lacks, in one transaction: a killed upgrade leaves what was there before.

    Raises `StoreError` when a newer flowguard made the database, or another program tables of the same names.
    """
    with database.reading() as connection:
        if revision(connection) == HEAD:
            return
    with _ONE_THREAD, database.writing(lock="upgrade") as connection:
        found = revision(connection)
        if found == HEAD:  # another process was faster
            return
        if found is None:
            _check_foreign(connection, database.address)
        _run(connection, found, database.address)


def revision(connection: Connection) -> str | None:
    """The revision that the database is at, or None when it holds no store."""
    if not inspect(connection).has_table(REVISIONS):
        return None
    found: str | None = connection.execute(select(column("version_num")).select_from(table(REVISIONS))).scalar()
    return found


def revisions() -> set[str]:
    """The revisions that this flowguard knows."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _check_foreign(connection: Connection, address: str) -> None:
    foreign = sorted(set(inspect(connection).get_table_names()) & set(METADATA.tables))
    if foreign:
        raise StoreError(
            f"The store {address} cannot be created: the database already has tables that flowguard did not make "
            f"({', '.join(foreign)}). Name a database of its own."
        )


def newer(address: str, found: str) -> str:
    """What is said of a store whose revision this flowguard does not know."""
    return (
        f"The store {address} was made by a newer flowguard: its tables are at revision {found}, this flowguard "
        f"knows them up to {HEAD}. Upgrade flowguard here, or name another store."
    )


def _run(connection: Connection, found: str | None, address: str) -> None:
    # Loaded only when there is something to do.
    from alembic import command

    if found is not None and found not in revisions():
        raise StoreError(newer(address, found))
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
