"""The queue of the desk: what scored batches flagged, and what was drawn from the rest, as pages ask for it.

It is a copy. The files of a scored batch and the verdicts hold; a batch can be queued again from them at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, delete, func, insert, or_, select, true
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from flowguard.store.database import Database
from flowguard.store.queued import Kind, QueuedBatch, QueuedCase, QueuedRecord, Tally, Wanted
from flowguard.store.schema import (
    QUEUED_BATCHES,
    QUEUED_CASES,
    QUEUED_DOCUMENTS,
    QUEUED_MARKS,
    QUEUED_RECORDS,
    VERDICTS,
)
from flowguard.store.verdicts import latest_entries

#: Characters of a mark and of a key in words; PostgreSQL indexes no text above 2,700 bytes.
LONGEST_MARK, LONGEST_KEY = 120, 500

_BATCH, _RECORD, _MARK, _CASE = QUEUED_BATCHES.c, QUEUED_RECORDS.c, QUEUED_MARKS.c, QUEUED_CASES.c
_TABLES = (QUEUED_MARKS, QUEUED_DOCUMENTS, QUEUED_CASES, QUEUED_RECORDS, QUEUED_BATCHES)  # each before what it is of


@dataclass(frozen=True)
class Queue:
    """The tables of the queue.

    >>> import tempfile
    >>> from datetime import UTC, datetime
    >>> from flowguard.store import QueuedBatch, QueuedRecord, Store, Wanted
    >>> day = QueuedBatch("meters", "monday", 1, "b", "f", read=10, scored=10, flagged=1, quarantined=0, document={},
    ...     scored_at=datetime(2026, 3, 2, 5, tzinfo=UTC))
    >>> odd = QueuedRecord("monday", "00ff", 1, True, False, 9.1, 0.001, "meter 7", {}, marks=(("", "flow"),))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     queue = Store.open(f"sqlite:///{folder}/flowguard.db").queue
    ...     queue.put(day, [odd], [])
    ...     [one.search for one in queue.records("meters", Wanted(column="flow", state="open"), most=10)]
    ['meter 7']
    """

    database: Database

    def put(self, batch: QueuedBatch, records: Sequence[QueuedRecord], cases: Sequence[QueuedCase]) -> None:
        """Queue a batch with its records and cases, the heaviest first, in place of what was queued of it before.

        What was decided on the records is looked up in the same transaction, so that no verdict is missed.
        """
        name, here = batch.pipeline, {"pipeline": batch.pipeline, "batch": batch.batch}
        with self.database.writing(lock=f"verdicts {name}") as connection:
            clear(connection, name, batch.batch)
            row = {key: value for key, value in vars(batch).items() if key != "document"}
            connection.execute(insert(QUEUED_BATCHES), [row | {"document": _text(batch.document)}])
            known = latest_entries(connection, name, [record.record_id for record in records])
            rows: list[dict[str, Any]] = []
            for one in records:
                last = known.get(one.record_id)
                mine = last is not None and last.batch == batch.batch
                rows.append(
                    here
                    | {
                        "record_id": one.record_id,
                        "version": index(one.version),
                        "flagged": bool(one.flagged),
                        "audited": bool(one.audited),
                        "score": float(one.score),
                        "p_value": float(one.p_value),
                        "case_id": one.case_id,
                        "rule": one.rule,
                        "entry": None if last is None else last.id,
                        "decision": last.decision if last is not None and mine else None,
                        "search": storable(one.search, LONGEST_KEY),
                        "folded": storable(one.search, LONGEST_KEY).casefold(),
                    }
                )
            documents = [here | {"record_id": one.record_id, "document": _text(one.document)} for one in records]
            marks = [
                here | {"record_id": one.record_id, "name": mark[0], "value": mark[1]}
                for one in records
                for mark in dict.fromkeys(
                    (storable(name, LONGEST_MARK), storable(value, LONGEST_MARK)) for name, value in one.marks
                )
            ]
            listed = [
                here | {"case_id": case.case_id, "position": place, "document": _text(case.document)}
                for place, case in enumerate(cases)
            ]
            for table, entries in (
                (QUEUED_RECORDS, rows),
                (QUEUED_DOCUMENTS, documents),
                (QUEUED_MARKS, marks),
                (QUEUED_CASES, listed),
            ):
                if entries:
                    connection.execute(insert(table), entries)

    def set_rules(self, pipeline: str, batch: str, rules: Mapping[str, int | None]) -> None:
        """Say of records of a batch which rule keeps each from being shown, None for none."""
        with self.database.writing(lock=f"verdicts {pipeline}") as connection:
            for record_id, rule in rules.items():
                here = (_RECORD.pipeline == pipeline, _RECORD.batch == batch, _RECORD.record_id == record_id)
                connection.execute(QUEUED_RECORDS.update().where(*here).values(rule=rule))

    def by_rule(self, pipeline: str) -> dict[int, dict[str, int]]:
        """Of every rule how many flagged records it keeps away, by decision on them ("open" for none)."""
        by = (_RECORD.rule, _RECORD.decision)
        query = select(*by, func.count().label("n")).where(_RECORD.pipeline == pipeline, _RECORD.rule.is_not(None))
        found: dict[int, dict[str, int]] = {}
        with self.database.reading() as connection:
            for row in connection.execute(query.group_by(*by)):
                found.setdefault(row.rule, {})[row.decision or "open"] = row.n
        return found

    def queued(self, pipeline: str) -> dict[str, tuple[int, str, str]]:
        """Of every queued batch what it was queued from: version, bundle and fingerprint."""
        query = select(_BATCH.batch, _BATCH.version, _BATCH.bundle, _BATCH.fingerprint)
        with self.database.reading() as connection:
            rows = connection.execute(query.where(_BATCH.pipeline == pipeline)).all()
        return {row.batch: (row.version, row.bundle, row.fingerprint) for row in rows}

    def batches(self, pipeline: str) -> list[QueuedBatch]:
        """The queued batches, by name, without their documents."""
        columns = [column for column in QUEUED_BATCHES.columns if column.name != "document"]
        with self.database.reading() as connection:
            rows = connection.execute(select(*columns).where(_BATCH.pipeline == pipeline)).all()
        return sorted((QueuedBatch(**row._asdict(), document={}) for row in rows), key=lambda one: one.batch)

    def batch(self, pipeline: str, batch: str) -> QueuedBatch | None:
        """One batch, whole."""
        query = select(QUEUED_BATCHES).where(_BATCH.pipeline == pipeline, _BATCH.batch == batch)
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else QueuedBatch(**row._asdict() | {"document": json.loads(row.document)})

    def tallies(self, pipeline: str, batch: str | None = None) -> dict[str, Tally]:
        """How many records of every batch, or of one, are in which state."""
        with self.database.reading() as connection:
            return tallies_of(connection, pipeline, batch)

    def records(self, pipeline: str, wanted: Wanted, *, most: int, skip: int = 0) -> list[QueuedRecord]:
        """The wanted records in their order, at most so many after those that are skipped, without their marks."""
        # Found first and completed then, so that documents are read of those alone that are shown.
        key = ("pipeline", "batch", "record_id")
        found = select(*(_RECORD[part] for part in key)).select_from(_marked(wanted)).where(*_chosen(pipeline, wanted))
        shown = found.order_by(*_order(wanted)).limit(most).offset(skip).subquery()
        same = _all(shown.c[part] == _RECORD[part] for part in key)
        with self.database.reading() as connection:
            rows = connection.execute(_whole(pipeline, None).join(shown, same).order_by(*_order(wanted)))
            return [_record(row) for row in rows]

    def stream(self, pipeline: str, wanted: Wanted, *, at_once: int = 1000) -> Iterator[QueuedRecord]:
        """All wanted records in their order, of one state of the database, however long that takes; read in parts."""
        query = _whole(pipeline, wanted).order_by(*_order(wanted))
        with self.database.reading() as connection:
            for row in connection.execution_options(yield_per=at_once).execute(query):
                yield _record(row)

    def count(self, pipeline: str, wanted: Wanted) -> int:
        """How many records are wanted."""
        query = select(func.count()).select_from(_marked(wanted)).where(*_chosen(pipeline, wanted))
        with self.database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def last_entry(self, pipeline: str, wanted: Wanted) -> int | None:
        """The newest verdict on any of the wanted records, None where there is none."""
        query = select(func.max(_RECORD.entry)).select_from(_marked(wanted)).where(*_chosen(pipeline, wanted))
        with self.database.reading() as connection:
            return connection.execute(query).scalar_one()

    def deliveries(self, pipeline: str, record_id: str) -> list[QueuedRecord]:
        """A record in every batch that has it in the queue, the batch that was scored last first."""
        query = _whole(pipeline, None).where(_RECORD.record_id == record_id)
        by_time = query.join(QUEUED_BATCHES, (_BATCH.pipeline == _RECORD.pipeline) & (_BATCH.batch == _RECORD.batch))
        with self.database.reading() as connection:
            return [_record(row) for row in connection.execute(by_time.order_by(_BATCH.scored_at.desc()))]

    def beside(self, pipeline: str, wanted: Wanted, record: QueuedRecord) -> tuple[QueuedRecord | None, ...]:
        """The wanted records before and after one by strangeness, None at an end; it need not be wanted itself."""
        at = (_RECORD.p_value, -_RECORD.score, _RECORD.batch, _RECORD.record_id)
        here = (record.p_value, -record.score, record.batch, record.record_id)
        found = []
        for later in (False, True):
            order = [column.asc() if later else column.desc() for column in at]
            # The first condition alone lets an index find the place to begin at.
            near = _RECORD.p_value >= record.p_value if later else _RECORD.p_value <= record.p_value
            beyond = (near, _beyond(at, here, later=later))
            query = _whole(pipeline, wanted).where(*beyond).order_by(*order).limit(1)
            with self.database.reading() as connection:
                row = connection.execute(query).one_or_none()
            found.append(None if row is None else _record(row))
        return tuple(found)

    def cases(self, pipeline: str, batch: str) -> list[QueuedCase]:
        """The cases of a batch, the heaviest first, with how many of their records are still open."""
        counted = (
            select(_RECORD.case_id, func.count().label("n"), func.count(_RECORD.decision).label("decided"))
            .where(*_chosen(pipeline, Wanted(batch=batch)), _RECORD.case_id.is_not(None))
            .group_by(_RECORD.case_id)
        )
        query = select(QUEUED_CASES).where(_CASE.pipeline == pipeline, _CASE.batch == batch).order_by(_CASE.position)
        with self.database.reading() as connection:
            counts = {row.case_id: (row.n, row.n - row.decided) for row in connection.execute(counted)}
            rows = connection.execute(query).all()
        return [
            QueuedCase(row.case_id, json.loads(row.document), *counts.get(row.case_id, (0, 0)))
            for row in rows
            if row.case_id in counts
        ]

    def open_cases(self, pipeline: str) -> dict[str, int]:
        """Of every batch the cases with records that nobody decided on."""
        query = (
            select(_RECORD.batch, func.count(_RECORD.case_id.distinct()).label("n"))
            .where(*_chosen(pipeline, Wanted(state="open")))
            .group_by(_RECORD.batch)
        )
        with self.database.reading() as connection:
            return {row.batch: row.n for row in connection.execute(query) if row.n}

    def marks(
        self, pipeline: str, batch: str, *, kind: Kind = "flagged", most: int = 1000
    ) -> dict[str, dict[str, int]]:
        """What a batch's records of a kind can be filtered by: values and counts, most frequent first, by name."""
        same = (_MARK[part] == _RECORD[part] for part in ("pipeline", "batch", "record_id"))
        query = (
            select(_MARK.name, _MARK.value, func.count().label("n"))
            .select_from(QUEUED_RECORDS.join(QUEUED_MARKS, _all(same)))
            .where(*_chosen(pipeline, Wanted(batch=batch, kind=kind)))
            .where(_MARK.pipeline == pipeline, _MARK.batch == batch)  # so that SQLite finds the marks by their batch
            .group_by(_MARK.name, _MARK.value)
            .order_by(func.count().desc(), _MARK.value)
            .limit(most)
        )
        found: dict[str, dict[str, int]] = {}
        with self.database.reading() as connection:
            for row in connection.execute(query):
                found.setdefault(row.name, {})[row.value] = row.n
        return found


def clear(connection: Connection, pipeline: str, batch: str) -> None:
    """Take a batch with all that is of it out of the queue, within a transaction."""
    for table in _TABLES:
        connection.execute(delete(table).where(table.c.pipeline == pipeline, table.c.batch == batch))


def tallies_of(connection: Connection, pipeline: str, batch: str | None = None) -> dict[str, Tally]:
    """As `Queue.tallies`, within a transaction."""
    # By columns of one index in its order, which are then counted without a sort.
    by = (_RECORD.batch, _RECORD.flagged, _RECORD.rule, _RECORD.decision)
    query = select(*by, func.count().label("n")).where(_RECORD.pipeline == pipeline).group_by(*by)
    if batch is not None:
        query = query.where(_RECORD.batch == batch)
    counts: dict[str, dict[str, int]] = {}
    for row in connection.execute(query):
        mine = counts.setdefault(row.batch, {})
        names = [row.decision or "open"] if row.flagged else ["drawn"] + ["drawn_open"] * (not row.decision)
        for name in ["suppressed"] if row.flagged and row.rule is not None else names:
            mine[name] = mine.get(name, 0) + row.n
    return {name: Tally(**mine) for name, mine in counts.items()}


def storable(text: str, longest: int) -> str:
    """`text` as every database keeps it: PostgreSQL holds no zero byte, and half a surrogate is no text in UTF-8."""
    cut = text[:longest]
    return "".join("\ufffd" if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in cut)


def _text(document: Mapping[str, Any]) -> str:
    # ASCII, so that whatever stands in a cell is kept.
    return json.dumps(dict(document), ensure_ascii=True, separators=(",", ":"))


def _whole(pipeline: str, wanted: Wanted | None) -> Select[Any]:
    """The query of records with their documents and the names of those who decided: the wanted ones, or all."""
    same = (QUEUED_DOCUMENTS.c[name] == _RECORD[name] for name in ("pipeline", "batch", "record_id"))
    said = (VERDICTS.c.pipeline == _RECORD.pipeline) & (VERDICTS.c.id == _RECORD.entry)
    columns = [column for column in QUEUED_RECORDS.columns if column.name not in ("pipeline", "folded")]
    joined = _marked(wanted).join(QUEUED_DOCUMENTS, _all(same)).outerjoin(VERDICTS, said)
    query = select(*columns, QUEUED_DOCUMENTS.c.document, VERDICTS.c.who).select_from(joined)
    return query.where(*([_RECORD.pipeline == pipeline] if wanted is None else _chosen(pipeline, wanted)))


def _marked(wanted: Wanted | None) -> FromClause:
    """The records with all the marks that are wanted; a database may begin at either."""
    found: FromClause = QUEUED_RECORDS
    if wanted is None:
        return found
    column = [("", wanted.column)] if wanted.column is not None else []
    before: ReadOnlyColumnCollection[str, Any] = _RECORD
    for place, (name, value) in enumerate([*wanted.context.items(), *column]):
        mark = QUEUED_MARKS.alias(f"mark{place}").c
        # Each beside the one before, so that SQLite looks up records of those alone that have them all.
        same = (mark[part] == before[part] for part in ("pipeline", "batch", "record_id"))
        found = found.join(mark.pipeline.table, _all(same) & (mark.name == name) & (mark.value == value))
        before = mark
    return found


def _all(conditions: Iterator[ColumnElement[bool]]) -> ColumnElement[bool]:
    both: ColumnElement[bool] = true()
    for condition in conditions:
        both = both & condition
    return both


def _record(row: Row[Any]) -> QueuedRecord:
    known = row._asdict()
    return QueuedRecord(**known | {"document": json.loads(known["document"])})


def _chosen(pipeline: str, wanted: Wanted) -> list[ColumnElement[bool]]:
    """The conditions that a list's records fulfil."""
    found: list[ColumnElement[bool]] = [_RECORD.pipeline == pipeline, _RECORD.flagged == (wanted.kind != "drawn")]
    if wanted.batch is not None:
        found.append(_RECORD.batch == wanted.batch)
    if wanted.kind != "drawn":
        found.append(_RECORD.rule.is_(None) if wanted.kind == "flagged" else _RECORD.rule.is_not(None))
    if wanted.state == "open":
        found.append(_RECORD.decision.is_(None))
    elif wanted.state == "decided":
        found.append(_RECORD.decision.is_not(None))
    elif wanted.state is not None:
        found.append(_RECORD.decision == wanted.state)
    if wanted.case_id is not None:
        found.append(_RECORD.case_id == wanted.case_id)
    if wanted.version is not None:
        found.append(_RECORD.version == wanted.version)
    if wanted.p_least is not None:
        found.append(_RECORD.p_value >= wanted.p_least)
    if wanted.p_most is not None:
        found.append(_RECORD.p_value <= wanted.p_most)
    for word in storable(wanted.text, LONGEST_KEY).casefold().split():
        found.append(or_(_RECORD.record_id == word, _RECORD.folded.contains(word, autoescape=True)))
    return found


def _order(wanted: Wanted) -> tuple[ColumnElement[Any], ...]:
    p_value: ColumnElement[Any] = _RECORD.p_value
    if wanted.text:
        p_value = p_value + 0.0  # few records have the text: to walk all of them in order would take longest
    strangest = (p_value.asc(), _RECORD.score.desc(), _RECORD.batch.asc(), _RECORD.record_id.asc())
    if wanted.order == "newest":
        return (_RECORD.batch.desc(), *strangest)
    if wanted.order == "key":
        return (_RECORD.folded.asc(), *strangest)
    return strangest


def _beyond(columns: Sequence[ColumnElement[Any]], values: Sequence[Any], *, later: bool) -> ColumnElement[bool]:
    """Whether a row comes after (or before) these values in the order of the columns."""
    found: list[ColumnElement[bool]] = []
    for place, (column, value) in enumerate(zip(columns, values, strict=True)):
        equal = _all(one == other for one, other in zip(columns[:place], values[:place], strict=True))
        found.append(equal & (column > value if later else column < value))
    return or_(*found)
