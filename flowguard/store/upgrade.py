"""Bring a database to the schema of this flowguard, once, however many processes open it at the same time."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from flowguard.errors import StoreError
from flowguard.store.database import Database
from flowguard.store.schema import HEAD, METADATA, REVISIONS

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


def _check_foreign(connection: Connection, address: str) -> None:
    foreign = sorted(set(inspect(connection).get_table_names()) & set(METADATA.tables))
    if foreign:
        raise StoreError(
            f"The store {address} cannot be created: the database already has tables that flowguard did not make "
            f"({', '.join(foreign)}). Name a database of its own."
        )


def _run(connection: Connection, found: str | None, address: str) -> None:
    # Loaded only when there is something to do.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(
            f"The store {address} was made by a newer flowguard: its tables are at revision {found}, this flowguard "
            f"knows them up to {HEAD}. Upgrade flowguard here, or name another store."
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
