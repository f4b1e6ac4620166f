"""Notices: what people are told, each event once, at most one message of a kind in a time, by whichever process."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, select, update
from sqlalchemy.dialects import postgresql, sqlite

from flowguard.store.database import Database
from flowguard.store.moment import clock
from flowguard.store.schema import NOTICES

State = Literal["waiting", "sent", "failed"]
#: A process that took notices and did not say what became of them within this time is given up.
LEASE = timedelta(minutes=10)
#: So long it is tried to tell an address; what nobody can be told then is no news anymore.
KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Notice:
    """An event that people are told of. `pipeline`, `kind` and `subject` make it the same event as another.

    `document` is what there is to tell, as JSON holds it, and empty once that is no longer needed; `occasion` the run
    that noticed it. `reached` says of each address that has been told when it was; `state` is `sent` once all have,
    `failed` when it is too old to be told. `tries` counts the messages that did not reach all of them.
    """

    pipeline: str
    kind: str
    subject: str
    document: Mapping[str, Any]
    occasion: str
    state: State = "waiting"
    reached: Mapping[str, datetime] = field(default_factory=dict)
    tries: int = 0
    noticed_at: datetime | None = None


@dataclass(frozen=True)
class Due:
    """What one address is to be told now: notices of one kind, the oldest first."""

    address: str
    notices: tuple[Notice, ...]


@dataclass(frozen=True)
class Notices:
    """The table of notices. An address is called by an id that is no secret.

    >>> import tempfile
    >>> from flowguard.store import Notice, Store
    >>> late = Notice("meters", "late", "2026-03-01", {"batch": "2026-03-01"}, occasion="run 1")
    >>> hour = timedelta(hours=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     notices = Store.open(f"sqlite:///{folder}/flowguard.db").notices
    ...     notices.add([late]), notices.add([late])  # known already
    ...     [due] = notices.claim("meters", "late", addresses=["chat"], every=hour, sender="me")
    ...     notices.settle("meters", "late", sender="me", reached=["chat"], addresses=["chat"])
    ...     [one.state for one in notices.of("meters")]
    (1, 0)
    ['sent']
    """

    database: Database

    def add(self, notices: Sequence[Notice]) -> int:
        """Remember new events, and return how many were; one that is known stays as it is."""
        added = 0
        for pipeline in sorted({one.pipeline for one in notices}):
            with self.database.writing(lock=f"notices {pipeline}") as connection:
                now = clock(connection)
                added += sum(_insert(connection, one, now) for one in notices if one.pipeline == pipeline)
        return added

    def kinds(self, pipeline: str) -> list[str]:
        """The kinds of which something waits to be told."""
        query = select(NOTICES.c.kind).where(NOTICES.c.pipeline == pipeline, NOTICES.c.state == "waiting").distinct()
        with self.database.reading() as connection:
            return sorted(row.kind for row in connection.execute(query))

    def claim(
        self, pipeline: str, kind: str, *, addresses: Sequence[str], every: timedelta, sender: str
    ) -> tuple[Due, ...]:
        """What each address is to be told now of one kind; nobody else is given it until `settle`.

        Law: whatever number of processes ask, each notice is given to one of them, and an address that was told of
        this kind less than `every` ago is not told again yet. Times are those of the database's clock. A process that
        took notices and was killed is given up after `LEASE`; whom it told by then may be told twice.
        """
        with self.database.writing(lock=f"notices {pipeline}") as connection:
            now = clock(connection)
            rows = connection.execute(_waiting(pipeline, kind)).all()
            if any(row.sender is not None and row.claimed_at > now - LEASE for row in rows):
                return ()
            waiting = []
            for row in rows:
                one = _notice(row)
                if one.reached and set(addresses) <= one.reached.keys():  # an address that lacked it is gone
                    _change(connection, one, state="sent", document="{}", sender=None, claimed_at=None)
                elif row.noticed_at <= now - KEPT:
                    _change(connection, one, state="failed", document="{}", sender=None, claimed_at=None)
                else:
                    waiting.append(one)
            told = _told_since(connection, pipeline, kind, now - every)
            due = []
            for address in addresses:
                lacks = tuple(one for one in waiting if address not in one.reached)
                if lacks and address not in told:
                    due.append(Due(address, lacks))
            for one in {one.subject: one for each in due for one in each.notices}.values():
                _change(connection, one, sender=sender, claimed_at=now)
        return tuple(due)

    def settle(
        self, pipeline: str, kind: str, *, sender: str, reached: Collection[str], addresses: Collection[str]
    ) -> None:
        """Say whom the messages made of what `sender` claimed reached; what one of `addresses` lacks goes on waiting.

        Where nobody was reached it waits as if it had not been tried: no time was used up.
        """
        with self.database.writing(lock=f"notices {pipeline}") as connection:
            now = clock(connection)
            for row in connection.execute(_waiting(pipeline, kind).where(NOTICES.c.sender == sender)).all():
                one = _notice(row)
                known = dict(one.reached) | {address: now for address in reached if address not in one.reached}
                whole = set(addresses) <= known.keys()
                _change(
                    connection,
                    one,
                    reached=json.dumps({address: at.isoformat() for address, at in known.items()}),
                    state="sent" if whole else "waiting",
                    document="{}" if whole else json.dumps(dict(one.document)),
                    tries=one.tries if whole else one.tries + 1,
                    told_at=max(known.values(), default=None),
                    sender=None,
                    claimed_at=None,
                )

    def of(self, pipeline: str, kind: str | None = None) -> list[Notice]:
        """All that was noticed of a pipeline, or of one kind, in order."""
        query = select(NOTICES).where(NOTICES.c.pipeline == pipeline)
        if kind is not None:
            query = query.where(NOTICES.c.kind == kind)
        with self.database.reading() as connection:
            return [_notice(row) for row in connection.execute(query.order_by(NOTICES.c.noticed_at, NOTICES.c.subject))]


def _insert(connection: Connection, one: Notice, now: datetime) -> int:
    made: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    row = {
        "pipeline": one.pipeline,
        "kind": one.kind,
        "subject": one.subject,
        # ASCII, so that whatever stands in a cell is kept.
        "document": json.dumps(dict(one.document), allow_nan=False),
        "state": "waiting",
        "reached": "{}",
        "occasion": one.occasion,
        "tries": 0,
        "noticed_at": now,
    }
    return int(connection.execute(made(NOTICES).values(**row).on_conflict_do_nothing()).rowcount)


def _waiting(pipeline: str, kind: str) -> Select[Any]:
    mine = (NOTICES.c.pipeline == pipeline) & (NOTICES.c.kind == kind) & (NOTICES.c.state == "waiting")
    return select(NOTICES).where(mine).order_by(NOTICES.c.noticed_at, NOTICES.c.subject)


def _told_since(connection: Connection, pipeline: str, kind: str, since: datetime) -> set[str]:
    """The addresses that were told of this kind after a moment."""
    mine = (NOTICES.c.pipeline == pipeline) & (NOTICES.c.kind == kind) & (NOTICES.c.told_at > since)
    return {
        address
        for row in connection.execute(select(NOTICES.c.reached).where(mine))
        for address, at in json.loads(row.reached).items()
        if datetime.fromisoformat(at) > since
    }


def _change(connection: Connection, one: Notice, **values: Any) -> None:
    here = (NOTICES.c.pipeline == one.pipeline) & (NOTICES.c.kind == one.kind) & (NOTICES.c.subject == one.subject)
    connection.execute(update(NOTICES).where(here).values(**values))


def _notice(row: Row[Any]) -> Notice:
    reached = {address: datetime.fromisoformat(at) for address, at in json.loads(row.reached).items()}
    return Notice(
        pipeline=row.pipeline,
        kind=row.kind,
        subject=row.subject,
        document=json.loads(row.document),
        occasion=row.occasion,
        state=row.state,
        reached=reached,
        tries=row.tries,
        noticed_at=row.noticed_at,
    )
