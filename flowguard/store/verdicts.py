"""Verdicts: what people decided on records. Entries are added, never changed or removed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from operator import index
from typing import Literal, get_args

from sqlalchemy import ColumnElement, Connection, Select, Text, bindparam, case, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from flowguard.errors import InputError, OvertakenError
from flowguard.store.database import Database
from flowguard.store.schema import QUEUED_RECORDS, VERDICTS

Decision = Literal["confirmed", "false_alarm", "unsure"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)

#: Characters. A verdict is read in lists and on pages; a document belongs elsewhere.
LONGEST_NOTE, LONGEST_NAME = 10_000, 200
_AT_ONCE = 500  # SQLite binds so many values of one question in every release
_TOLD = 3


@dataclass(frozen=True)
class Verdict:
    """One entry: what `who` decided on a record, and what version `version` had said of it in batch `batch`.

    `decision` None takes back what was decided. `audited`: the record was one of the random unflagged ones of its
    batch. `undoes` is the id of the entry that this one takes back, `case_id` the case that it was decided with. `id`
    counts 1, 2, 3, ... within the pipeline and is the order of entries, whatever the clocks of machines say; it is 0
    before the entry is stored.
    """

    pipeline: str
    batch: str
    record_id: str
    version: int
    decision: Decision | None
    note: str
    who: str
    score: float
    p_value: float
    flagged: bool
    audited: bool = False
    case_id: str | None = None
    undoes: int | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: int = 0

    def __str__(self) -> str:
        what = "took it back" if self.decision is None else f"decided {self.decision.replace('_', ' ')}"
        note = f" ({_short(self.note)})" if self.note else ""
        return f"{_short(self.who)} {what} on {self.at:%Y-%m-%d at %H:%M:%S} UTC{note}"


@dataclass(frozen=True)
class Verdicts:
    """The table of verdicts.

    >>> import tempfile
    >>> from flowguard.store import Store, Verdict
    >>> odd = Verdict("meters", "monday", "00ff", 1, "confirmed", "a burst pipe", "ada", 9.1, 0.001, flagged=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     verdicts = Store.open(f"sqlite:///{folder}/flowguard.db").verdicts
    ...     first = verdicts.put(odd, seen=None)
    ...     verdicts.latest("meters") == {"00ff": first}
    True
    """

    database: Database

    def put(self, verdict: Verdict, *, seen: int | None) -> Verdict:
        """Add an entry; `seen` is the id of the record's latest entry that the decider saw, None where there was none.

        Law: of deciders who saw the same, one writes; the others raise `OvertakenError`, which names who decided what
        and when, and nothing of theirs is written. Raises `InputError` for an entry that cannot be kept: no name, text
        that no database holds, a note that is too long.
        """
        (stored,) = self.put_all([verdict], seen={verdict.record_id: seen})
        return stored

    def put_all(self, verdicts: Sequence[Verdict], *, seen: Mapping[str, int | None]) -> list[Verdict]:
        """Add entries on several records of one pipeline, all or none; `seen` has each record's latest entry by id.

        Raises as `put` does, and `ValueError` for two entries on one record or for several pipelines.
        """
        if not verdicts:
            return []
        for verdict in verdicts:
            _check(verdict)
        names = {verdict.pipeline for verdict in verdicts}
        twice = [name for name, count in Counter(verdict.record_id for verdict in verdicts).items() if count > 1]
        if len(names) > 1 or twice:
            raise ValueError(f"Entries of one write are of one pipeline and of one record each: {names}, {twice}.")
        (pipeline,) = names
        try:
            with self.database.writing(lock=f"verdicts {pipeline}") as connection:
                known = latest_entries(connection, pipeline, [verdict.record_id for verdict in verdicts])
                others = [one for name, one in known.items() if one.id != seen.get(name)]
                gone = [one for one in verdicts if seen.get(one.record_id) is not None and one.record_id not in known]
                if others:
                    raise _overtaken(others, len(verdicts))
                if gone:
                    raise InputError(
                        f"Record {gone[0].record_id} of {pipeline} has no verdict yet, so entry "
                        f"{seen[gone[0].record_id]} cannot be the last one seen of it. Decide without naming one."
                    )
                newest = select(func.coalesce(func.max(VERDICTS.c.id), 0)).where(VERDICTS.c.pipeline == pipeline)
                last = int(connection.execute(newest).scalar_one())
                stored = [_plain(one, last + place) for place, one in enumerate(verdicts, start=1)]
                connection.execute(insert(VERDICTS), [asdict(one) for one in stored])
                _show(connection, stored)
        except IntegrityError:
            now = self.latest(pipeline, [verdict.record_id for verdict in verdicts])
            others = [one for name, one in now.items() if one.id != seen.get(name)]
            if not others:
                raise
            raise _overtaken(others, len(verdicts)) from None
        return stored

    def latest(self, pipeline: str, record_ids: Iterable[str] | None = None) -> dict[str, Verdict]:
        """The last entry of every record that has one, or of these records; one that was taken back has None in it."""
        with self.database.reading() as connection:
            return latest_entries(connection, pipeline, record_ids)

    def newest(self, pipeline: str) -> int:
        """The id of the last entry of a pipeline, 0 where there is none."""
        query = select(func.coalesce(func.max(VERDICTS.c.id), 0)).where(VERDICTS.c.pipeline == pipeline)
        with self.database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def history(self, pipeline: str, record_id: str) -> list[Verdict]:
        """All entries of one record as they were made."""
        with self.database.reading() as connection:
            return _read(connection, _entries(pipeline).where(VERDICTS.c.record_id == record_id))

    def histories(self, pipeline: str, record_ids: Iterable[str] | None = None) -> dict[str, list[Verdict]]:
        """All entries of every record that has one, or of these records, as they were made."""
        found: dict[str, list[Verdict]] = {}
        with self.database.reading() as connection:
            for mine in _parts(record_ids):
                for entry in _read(connection, _entries(pipeline).where(*mine)):
                    found.setdefault(entry.record_id, []).append(entry)
        return found

    def confirmed(self, pipeline: str) -> dict[str, int]:
        """The records that stand confirmed as anomalies, each with the id of the entry that says so."""
        newest = select(func.max(VERDICTS.c.id)).where(VERDICTS.c.pipeline == pipeline).group_by(VERDICTS.c.record_id)
        query = select(VERDICTS.c.record_id, VERDICTS.c.id).where(
            VERDICTS.c.pipeline == pipeline, VERDICTS.c.id.in_(newest), VERDICTS.c.decision == "confirmed"
        )
        with self.database.reading() as connection:
            return {row.record_id: row.id for row in connection.execute(query)}

    def of(self, pipeline: str, version: int | None = None) -> list[Verdict]:
        """The verdicts that stand, in the order they were given: of each record the last entry, unless taken back.

        With `version` only those that were given on the word of that version.
        """
        standing = [entry for entry in self.latest(pipeline).values() if entry.decision is not None]
        if version is not None:
            standing = [entry for entry in standing if entry.version == index(version)]
        return sorted(standing, key=lambda entry: entry.id)


def _entries(pipeline: str) -> Select[tuple[object, ...]]:
    return select(VERDICTS).where(VERDICTS.c.pipeline == pipeline).order_by(VERDICTS.c.id)


def _read(connection: Connection, query: Select[tuple[object, ...]]) -> list[Verdict]:
    return [Verdict(**row._asdict()) for row in connection.execute(query)]


def _parts(record_ids: Iterable[str] | None) -> Iterator[tuple[ColumnElement[bool], ...]]:
    """Conditions that together choose these records, each of a size that every database takes; one for all records."""
    if record_ids is None:
        yield ()
        return
    rest = iter(dict.fromkeys(record_ids))
    while part := list(islice(rest, _AT_ONCE)):
        yield (VERDICTS.c.record_id.in_(part),)


def latest_entries(connection: Connection, pipeline: str, record_ids: Iterable[str] | None) -> dict[str, Verdict]:
    """As `Verdicts.latest`, within a transaction."""
    found: dict[str, Verdict] = {}
    for mine in _parts(record_ids):
        newest = select(func.max(VERDICTS.c.id)).where(VERDICTS.c.pipeline == pipeline, *mine)
        query = _entries(pipeline).where(VERDICTS.c.id.in_(newest.group_by(VERDICTS.c.record_id)))
        found.update((entry.record_id, entry) for entry in _read(connection, query))
    return found


def _show(connection: Connection, stored: Sequence[Verdict]) -> None:
    """Put the entries on the records of the queue: the last one of a record, and what it decides in its batch."""
    mine = (QUEUED_RECORDS.c.pipeline == bindparam("of"), QUEUED_RECORDS.c.record_id == bindparam("record"))
    here = QUEUED_RECORDS.c.batch == bindparam("within")
    decided = case((here, bindparam("decided", type_=Text)), else_=None)
    connection.execute(
        update(QUEUED_RECORDS).where(*mine).values(entry=bindparam("last"), decision=decided),
        [
            {"of": one.pipeline, "record": one.record_id, "within": one.batch, "decided": one.decision, "last": one.id}
            for one in stored
        ],
    )


def _plain(verdict: Verdict, id: int) -> Verdict:
    """The entry as the database gives it back: NumPy's numbers would reach it as bytes."""
    return replace(
        verdict,
        version=index(verdict.version),
        score=float(verdict.score),
        p_value=float(verdict.p_value),
        flagged=bool(verdict.flagged),
        audited=bool(verdict.audited),
        at=verdict.at.astimezone(UTC),
        id=id,
    )


def _check(verdict: Verdict) -> None:
    if verdict.decision is not None and verdict.decision not in DECISIONS:
        raise ValueError(f"A verdict is one of {', '.join(DECISIONS)} or None, not {verdict.decision!r}.")
    if verdict.at.tzinfo is None:
        raise ValueError(f"The time {verdict.at} has no time zone: write datetime.now(UTC), for example.")
    if math.isnan(verdict.score) or math.isnan(verdict.p_value):
        raise ValueError(f"Record {verdict.record_id} has no score or no p_value, so that there is nothing to judge.")
    if verdict.flagged and verdict.audited:
        raise ValueError(f"Record {verdict.record_id} is flagged: only unflagged ones are audited.")
    if not verdict.who.strip():
        raise InputError("A verdict must say who decided.")
    for what, text, longest in (("note", verdict.note, LONGEST_NOTE), ("name", verdict.who, LONGEST_NAME)):
        if len(text) > longest:
            raise InputError(
                f"The {what} of a verdict has {len(text):,} characters; {longest:,} are the most that are kept. "
                "Shorten it, or say where the rest is to be found."
            )
        # PostgreSQL holds no zero byte, and half a pair of surrogates is no text in UTF-8.
        if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
            raise InputError(
                f"The {what} of a verdict holds a zero byte or bytes that are no text in UTF-8, which no database "
                "keeps. Write it without them."
            )


def _overtaken(others: Sequence[Verdict], asked: int) -> OvertakenError:
    """Who was faster, on which records; the ids are what a decider has seen after reading this."""
    listed = sorted(others, key=lambda one: one.id)
    if asked == 1:
        (one,) = listed
        return OvertakenError(
            f"Record {one.record_id} of {one.pipeline} has a verdict that this one has not seen: {one} "
            f"(entry {one.id}). Nothing was written. Look at it; if yours still stands, decide again having seen "
            f"entry {one.id} (--seen {one.id})."
        )
    told = "; ".join(f"record {one.record_id}: {one} (entry {one.id})" for one in listed[:_TOLD])
    more = f"; and {len(listed) - _TOLD:,} more" if len(listed) > _TOLD else ""
    return OvertakenError(
        f"{len(listed):,} of the {asked:,} records have a verdict that these have not seen: {told}{more}. Nothing was "
        f"written. Look at them; if yours still stand, decide again having seen entry {listed[-1].id} and those before "
        f"(--seen {listed[-1].id})."
    )


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:119]}…"
