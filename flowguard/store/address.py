"""The address of a store: a SQLite file or a PostgreSQL database, as a URL."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from flowguard.errors import InputError
from flowguard.settings import masked

FORMS = "sqlite:////absolute/path/flowguard.db or postgresql://user:password@host/database"


def parsed(url: str) -> URL:
    """`url` as SQLAlchemy reads it: SQLite files by absolute path, PostgreSQL always by the driver psycopg.

    Raises `InputError` for an address that can hold no store, or none beyond the end of the program.

    >>> parsed("postgres://me@db/flowguard").drivername
    'postgresql+psycopg'
    """
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise InputError(f"The store address {masked(str(url))!r} is no URL. Write {FORMS}.") from None
    kind = address.get_backend_name()
    if kind in ("postgres", "postgresql"):
        return address.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise InputError(
            f"The store address {shown(address)} names a {kind} database, but a store is SQLite or PostgreSQL. "
            f"Write {FORMS}."
        )
    path = address.database or ""
    if path.removeprefix("file:") in ("", ":memory:") or address.query.get("mode") == "memory":
        raise InputError(
            f"The store address {shown(address)} names no file: what it remembers would be lost at the end. "
            "Write sqlite:////absolute/path/flowguard.db."
        )
    prefix = "file:" if path.startswith("file:") else ""
    absolute = Path(path.removeprefix("file:")).absolute()
    return address.set(drivername="sqlite", database=f"{prefix}{absolute}")


def shown(address: URL) -> str:
    """The address without its password.

    >>> shown(parsed("postgresql://me:secret@db/flowguard"))
    'postgresql://me:***@db/flowguard'
    """
    plain = address.set(drivername=address.get_backend_name()).difference_update_query(["password"])
    return plain.render_as_string(hide_password=True)


def sqlite_path(address: URL) -> Path | None:
    """The file of a SQLite address, or None for PostgreSQL.

    >>> sqlite_path(parsed("sqlite:////data/flowguard.db"))
    PosixPath('/data/flowguard.db')
    """
    if address.get_backend_name() != "sqlite":
        return None
    return Path((address.database or "").removeprefix("file:"))
