"""Error budgets: what a policy over many batches has decided so far, so that nothing is spent twice or lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from operator import index

from sqlalchemy import func, insert, select

from flowguard.store.database import Database
from flowguard.store.schema import BUDGETS

Decide = Callable[[int, int], tuple[int, float]]


@dataclass(frozen=True)
class Reservation:
    """The decision on one batch: the `t`-th under its policy, `discoveries` among `records` at `level`.

    `discoveries_before` counts those of batches 1 to t - 1, in the order in which they were first decided.
    """

    pipeline: str
    key: str
    batch: str
    t: int
    records: int
    discoveries_before: int
    discoveries: int
    level: float
    decided_at: datetime


@dataclass(frozen=True)
class Budgets:
    """The table of error budgets, one sequence t = 1, 2, 3, ... per pipeline and policy key.

    >>> import tempfile
    >>> from flowguard.store import Store
    >>> def decide(t: int, discoveries_before: int) -> tuple[int, float]:
    ...     return 2, 0.1 * 2.0**-t * (discoveries_before + 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     budgets = Store.open(f"sqlite:///{folder}/flowguard.db").budgets
    ...     one = budgets.reserve("meters", "fdr 0.1", batch="monday", records=100, decide=decide)
    ...     two = budgets.reserve("meters", "fdr 0.1", batch="tuesday", records=100, decide=decide)
    ...     again = budgets.reserve("meters", "fdr 0.1", batch="monday", records=100, decide=decide)
    >>> (two.t, two.discoveries_before, again == one)
    (2, 2, True)
    """

    database: Database

    def reserve(self, pipeline: str, key: str, *, batch: str, records: int, decide: Decide) -> Reservation:
        """Decide on `batch` exactly once: `decide(t, discoveries_before)` returns its discoveries and its level.

        Law: decisions of one pipeline and key happen one after the other, in all processes, each seeing all before
        it. A batch that was decided before gets its first decision back, unchanged even if its records have changed
        since, and `decide` is not called. When `decide` raises, or the process is killed in it, nothing is spent.

        `decide` is pure and quick: other writers wait for it. Raises `ValueError` when it returns more discoveries
        than records or a level that is negative or not finite.
        """
        mine = (BUDGETS.c.pipeline == pipeline) & (BUDGETS.c.key == key)
        records = index(records)
        with self.database.writing(lock=f"budgets {pipeline}\0{key}") as connection:
            known = connection.execute(select(BUDGETS).where(mine, BUDGETS.c.batch == batch)).one_or_none()
            if known is not None:
                return Reservation(**known._asdict())
            last, spent = connection.execute(
                select(
                    func.coalesce(func.max(BUDGETS.c.t), 0), func.coalesce(func.sum(BUDGETS.c.discoveries), 0)
                ).where(mine)
            ).one()
            t, before = int(last) + 1, int(spent)  # PostgreSQL's sums are decimals
            found, level = decide(t, before)
            discoveries = index(found)
            if not 0 <= discoveries <= records or not (math.isfinite(level) and level >= 0):
                raise ValueError(
                    f"The decision on batch {batch} of {pipeline} ({key}) is impossible: {discoveries} discoveries in "
                    f"{records} records at level {level}."
                )
            made = Reservation(
                pipeline, key, batch, t, records, before, discoveries, float(level), decided_at=datetime.now(UTC)
            )
            connection.execute(insert(BUDGETS).values(**asdict(made)))
        return made

    def of(self, pipeline: str, key: str) -> list[Reservation]:
        """All decisions of `pipeline` under the policy `key`, in their order."""
        query = select(BUDGETS).where(BUDGETS.c.pipeline == pipeline, BUDGETS.c.key == key).order_by(BUDGETS.c.t)
        with self.database.reading() as connection:
            return [Reservation(**row._asdict()) for row in connection.execute(query)]
