"""Users of the desk: adding, changing and removing them, and knowing one by their password."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flowguard.errors import InputError
from flowguard.review.access import check, hashed
from flowguard.stages.workspace import store_in
from flowguard.store import Account, Role, Store


@dataclass(frozen=True)
class UserLine:
    """A user as lists show them: everything but the hash."""

    name: str
    role: Role
    password: bool
    changed_by: str
    changed_at: datetime


def users(runs: str | Path) -> list[UserLine]:
    """All users by name."""
    return [_line(account) for account in store_in(Path(runs)).users.all()]


def add_user(runs: str | Path, name: str, role: Role, password: str | None) -> UserLine:
    """Add a user, or give one another role; `password` None keeps what is there, or is for one who needs none.

    Raises `InputError` for a name or a password that does not serve.
    """
    store = store_in(Path(runs))
    known = store.users.find(name)
    if password is None:
        kept = "" if known is None else known.password
    else:
        kept = hashed(name, password)
    return _line(store.users.put(name, role, kept, by=_me()))


def change_password(runs: str | Path, name: str, password: str) -> UserLine:
    """Give a user another password, which ends the sessions that began with the one before."""
    store = store_in(Path(runs))
    return _line(store.users.put(name, known_user(runs, name).role, hashed(name, password), by=_me()))


def remove_user(runs: str | Path, name: str) -> UserLine:
    """Remove a user, which ends their sessions; what they decided stays."""
    line = known_user(runs, name)
    store_in(Path(runs)).users.remove(name)
    return line


def known_user(runs: str | Path, name: str) -> UserLine:
    """The user of this name; raises `InputError` with the names that there are."""
    store = store_in(Path(runs))
    account = store.users.find(name)
    if account is None:
        names = ", ".join(one.name for one in store.users.all()) or "nobody yet"
        raise InputError(
            f"There is no user {name!r} in the store {store.address}; it knows {names}. Check the name, or "
            "that this is the right project (--runs)."
        )
    return _line(account)


def recognised(store: Store, name: str, password: str) -> Account | None:
    """The user if the password is theirs; its hash is renewed where it is of weaker parameters than today's."""
    account = store.users.find(name)
    found = check(password, None if account is None else account.password)
    if account is None or not found.right:
        return None
    if found.rehashed is not None:
        return store.users.put(account.name, account.role, found.rehashed, by=account.name)
    return account


def _line(account: Account) -> UserLine:
    return UserLine(account.name, account.role, bool(account.password), account.changed_by, account.changed_at)


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
