"""Users: who may work at the desk, in which role, and the hash of each one's password."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from sqlalchemy import delete, select

from flowguard.errors import InputError
from flowguard.store.database import Database
from flowguard.store.schema import USERS
from flowguard.store.upsert import upsert

Role = Literal["viewer", "reviewer", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what the one before it may, and more."""

LONGEST_NAME = 200
"""Characters of a user's name."""


@dataclass(frozen=True)
class Account:
    """What is kept of a user; `password` is a hash, empty for one who can only come through a proxy."""

    name: str
    role: Role
    password: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True)
class Users:
    """The table of users.

    >>> import tempfile
    >>> from flowguard.store import Store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     users = Store.open(f"sqlite:///{folder}/flowguard.db").users
    ...     ada = users.put("ada", "reviewer", "$argon2id$...", by="root")
    ...     users.find("ada") == ada
    True
    """

    database: Database

    def put(self, name: str, role: Role, password_hash: str, by: str) -> Account:
        """Add the user or replace what was kept of them.

        Raises `InputError` for a name that cannot be one, or that differs from another's in capitals alone: both
        would be taken for the same person where verdicts are read.
        """
        if role not in ROLES:
            raise ValueError(f"A role is one of {', '.join(ROLES)}, not {role!r}.")
        _check(name)
        account = Account(name, role, password_hash, by, datetime.now(UTC))
        with self.database.writing(lock="users") as connection:
            known = connection.execute(select(USERS.c.name)).scalars()
            twins = [other for other in known if other != name and other.casefold() == name.casefold()]
            if twins:
                raise InputError(
                    f"The name {name!r} differs from the user {twins[0]!r} in capitals alone. Use that one, or choose "
                    "another name."
                )
            upsert(connection, USERS, asdict(account))
        return account

    def find(self, name: str) -> Account | None:
        """The user of exactly this name."""
        with self.database.reading() as connection:
            row = connection.execute(select(USERS).where(USERS.c.name == name)).one_or_none()
        return None if row is None else Account(**row._asdict())

    def all(self) -> list[Account]:
        """All users by name."""
        with self.database.reading() as connection:
            rows = connection.execute(select(USERS))
            return sorted((Account(**row._asdict()) for row in rows), key=lambda account: account.name)

    def remove(self, name: str) -> bool:
        """Forget the user; whether there was one. Their verdicts stay."""
        with self.database.writing(lock="users") as connection:
            return bool(connection.execute(delete(USERS).where(USERS.c.name == name)).rowcount)


def _check(name: str) -> None:
    if not name or name != name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise InputError(
            f"The user name {name[:60]!r} does not serve; expected 1 to {LONGEST_NAME} visible characters without "
            "spaces at the ends, such as ada or ada@example.org."
        )
