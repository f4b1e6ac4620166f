"""Pruning: what the store knows of a batch's or a version's references, and what of it may be taken away.

Batches scored, error budgets, the journal of aliases, verdicts and rules are never taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import index

from sqlalchemy import delete, select

from flowguard.store.database import Database
from flowguard.store.moment import utc
from flowguard.store.queue import clear
from flowguard.store.schema import DRIFT, QUEUED_BATCHES, VERDICTS


@dataclass(frozen=True)
class Pruning:
    """References, and removal that heeds them.

    >>> import tempfile
    >>> from flowguard.store import Store, Verdict
    >>> odd = Verdict("meters", "monday", "00ff", 1, "confirmed", "a burst pipe", "ada", 9.1, 0.001, flagged=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store.open(f"sqlite:///{folder}/flowguard.db")
    ...     entry = store.verdicts.put(odd, seen=None)
    ...     store.pruning.judged("meters")
    {('monday', 1)}
    """

    database: Database

    def judged(self, pipeline: str) -> set[tuple[str, int]]:
        """The batches and versions that verdicts refer to, those that were taken back since too."""
        query = select(VERDICTS.c.batch, VERDICTS.c.version).where(VERDICTS.c.pipeline == pipeline).distinct()
        with self.database.reading() as connection:
            return {(row.batch, row.version) for row in connection.execute(query)}

    @contextmanager
    def alone(self, pipeline: str, batch: str) -> Iterator[None]:
        """While the block runs, nobody else puts files of this batch in place, or takes them away.

        The block is quick and writes nothing to the store: on SQLite all that write wait for it.
        """
        with self.database.writing(_batch_lock(pipeline, batch)):
            yield

    @contextmanager
    def taking(self, pipeline: str, batch: str) -> Iterator[frozenset[int]]:
        """As `alone`, and nobody decides on a record meanwhile: the versions of the batch that verdicts refer to."""
        with self.database.writing(_batch_lock(pipeline, batch), f"verdicts {pipeline}") as connection:
            mine = (VERDICTS.c.pipeline == pipeline, VERDICTS.c.batch == batch)
            yield frozenset(connection.execute(select(VERDICTS.c.version).where(*mine).distinct()).scalars())

    def take_queued(self, pipeline: str, batch: str, scored_at: datetime) -> bool:
        """Take a batch out of the queue with its records and cases, as it was scored then; False where it was not."""
        mine = (QUEUED_BATCHES.c.pipeline == pipeline, QUEUED_BATCHES.c.batch == batch)
        with self.database.writing(f"verdicts {pipeline}") as connection:
            found = connection.execute(select(QUEUED_BATCHES.c.scored_at).where(*mine)).scalar()
            if found != utc(scored_at):
                return False
            clear(connection, pipeline, batch)
        return True

    def take_drift(self, pipeline: str, version: int) -> None:
        """Forget the drift that a version observed; for one that will observe no other batch."""
        mine = (DRIFT.c.pipeline == pipeline, DRIFT.c.version == index(version))
        with self.database.writing(f"drift {pipeline}") as connection:
            connection.execute(delete(DRIFT).where(*mine))


def _batch_lock(pipeline: str, batch: str) -> str:
    return f"batch {pipeline}\0{batch}"
