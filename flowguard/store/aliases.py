"""The alias journal: who made which version the champion or challenger, when, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from operator import index

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from flowguard.errors import InputError, OvertakenError
from flowguard.store.database import Database
from flowguard.store.schema import ALIASES


@dataclass(frozen=True)
class Change:
    """One change of an alias, the `sequence`-th of its model and alias; no version (None) is an alias not set."""

    model: str
    alias: str
    sequence: int
    from_version: int | None
    to_version: int | None
    who: str
    why: str
    changed_at: datetime

    def __str__(self) -> str:
        return (
            f"{self.who} changed it from {_named(self.from_version)} to {_named(self.to_version)} "
            f"on {self.changed_at:%Y-%m-%d at %H:%M:%S} UTC ({self.why})"
        )


@dataclass(frozen=True)
class Aliases:
    """The alias journal: entries are added, never changed or removed.

    >>> import tempfile
    >>> from flowguard.store import Store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     aliases = Store.open(f"sqlite:///{folder}/flowguard.db").aliases
    ...     first = aliases.record("meters", "champion", expected_from=None, to=1, who="ada", why="the first")
    ...     second = aliases.record("meters", "champion", expected_from=1, to=2, who="bob", why="fewer false alarms")
    ...     aliases.of("meters") == [first, second]
    True
    """

    database: Database

    def record(
        self, model: str, alias: str, *, expected_from: int | None, to: int | None, who: str, why: str
    ) -> Change:
        """Add the change of `alias` from version `expected_from` to version `to`.

        Law: of changes that race for one alias one wins; the others raise `OvertakenError`, which names who changed
        it and when, as does every change whose `expected_from` is not where the journal stands. An empty journal stands
        anywhere: its first entry says from where. Raises `InputError` without `who` or `why`.
        """
        for name, text in (("who", who), ("why", why)):
            if not text.strip():
                raise InputError(f"The change of the {alias} of {model} must say {name}, for the journal.")
        expected = None if expected_from is None else index(expected_from)
        wanted = None if to is None else index(to)
        try:
            with self.database.writing(lock=f"aliases {model}\0{alias}") as connection:
                latest = _latest(connection, model, alias)
                if latest is not None and latest.to_version != expected:
                    raise _overtaken(latest, expected)
                sequence = 1 if latest is None else latest.sequence + 1
                change = Change(model, alias, sequence, expected, wanted, who, why, changed_at=datetime.now(UTC))
                connection.execute(insert(ALIASES).values(**asdict(change)))
        except IntegrityError:
            winner = self.latest(model, alias)
            if winner is None:
                raise
            raise _overtaken(winner, expected) from None
        return change

    def latest(self, model: str, alias: str) -> Change | None:
        """The last change of `alias`, or None when there was none yet."""
        with self.database.reading() as connection:
            return _latest(connection, model, alias)

    def of(self, model: str, alias: str | None = None) -> list[Change]:
        """All changes of `model`, or of one alias of it, as they happened."""
        query = select(ALIASES).where(ALIASES.c.model == model)
        if alias is not None:
            query = query.where(ALIASES.c.alias == alias)
        with self.database.reading() as connection:
            changes = [Change(**row._asdict()) for row in connection.execute(query.order_by(ALIASES.c.sequence))]
        # Within one alias the sequence is the order, whatever the clocks of two machines say.
        return changes if alias is not None else sorted(changes, key=lambda change: change.changed_at)


def _latest(connection: Connection, model: str, alias: str) -> Change | None:
    query = select(ALIASES).where(ALIASES.c.model == model, ALIASES.c.alias == alias)
    row = connection.execute(query.order_by(ALIASES.c.sequence.desc()).limit(1)).one_or_none()
    return None if row is None else Change(**row._asdict())


def _overtaken(latest: Change, expected: int | None) -> OvertakenError:
    return OvertakenError(
        f"The {latest.alias} of {latest.model} is {_named(latest.to_version)} by the alias journal, not "
        f"{_named(expected)}: {latest}. Nothing was changed. Look at that change; if yours is still wanted, run it "
        "again from there."
    )


def _named(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
