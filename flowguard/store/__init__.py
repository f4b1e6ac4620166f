"""What is remembered between runs, in one SQL database: batches, drift, error budgets and the alias journal.

SQLite for one machine, PostgreSQL for several. SQLAlchemy and alembic are imported in this package alone.
"""

from __future__ import annotations

from flowguard.store.aliases import Aliases, Change
from flowguard.store.batches import Batches, ScoredBatch
from flowguard.store.budgets import Budgets, Reservation
from flowguard.store.drift import Alarm, Drift, DriftRecord
from flowguard.store.store import Store

__all__ = [
    "Alarm",
    "Aliases",
    "Batches",
    "Budgets",
    "Change",
    "Drift",
    "DriftRecord",
    "Reservation",
    "ScoredBatch",
    "Store",
]
