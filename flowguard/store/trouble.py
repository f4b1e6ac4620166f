"""What a database complains about, told with the store's address, what was found and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError

from flowguard.errors import StoreError

LOCKED = re.compile(r"database (table )?is locked|lock timeout", re.IGNORECASE)


@contextmanager
def told(store: str, doing: str) -> Iterator[None]:
    """Turn what the database raises in the block into a `StoreError`; `store` is the address without password.

    Broken constraints pass: who writes knows what they mean.
    """
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        raise StoreError(_explained(error, store, doing)) from None


def _explained(error: DBAPIError, store: str, doing: str) -> str:
    found = " ".join(str(error.orig).split())[:600].rstrip(".")
    where = f"The store {store} could not be {doing}"
    for pattern, meaning in _REMEDIES:
        if re.search(pattern, found, re.IGNORECASE):
            return f"{where}: {meaning.format(found=found)}"
    if store.startswith("postgresql") and getattr(error.orig, "sqlstate", None) is None:
        return (
            f"{where}: the server does not answer or refuses ({found}). Check that it runs, and that host, port, "
            "user and password of the address are right."
        )
    return f"{where}: {found}. Check that the address is right and that its database is a store of flowguard."


_REMEDIES = (
    (
        r"file is not a database|malformed|file is encrypted",
        "its file is damaged or is no SQLite database ({found}). Restore it from a backup or name another file. "
        "Without it the error budgets already spent and the alias journal are forgotten.",
    ),
    (
        r"readonly|read-only",
        "it is read-only ({found}). Let this user write to the file and to its folder (SQLite) or connect to the "
        "primary server (PostgreSQL), or name another store.",
    ),
    (
        r"unable to open database file",
        "its file or folder cannot be opened ({found}). Check that the folder exists and that this user may write to "
        "it, or name another store.",
    ),
    (
        LOCKED.pattern,
        "another process has held it for too long ({found}). Wait until that has finished and run the command again; "
        "for many writers, or a folder on a network, use PostgreSQL.",
    ),
    (
        r"disk is full|No space left",
        "the disk is full ({found}). Make room and run the command again; nothing was half-written.",
    ),
    (
        r'database ".*" does not exist',
        "{found}. Create it, with `createdb` for example, or name another.",
    ),
    (
        r"permission denied",
        "{found}. Give this user the right to create and write tables there, or name another store.",
    ),
)
