"""What is remembered between runs, in one SQL database: batches, drift, error budgets, the alias journal, verdicts.

SQLite for one machine, PostgreSQL for several. SQLAlchemy and alembic are imported in this package alone.
"""

from __future__ import annotations

from flowguard.store.aliases import Aliases, Change
from flowguard.store.batches import Batches, ScoredBatch
from flowguard.store.budgets import Budgets, Reservation
from flowguard.store.drift import Alarm, Drift, DriftRecord
from flowguard.store.notices import Due, Notice, Notices
from flowguard.store.queue import Queue
from flowguard.store.queued import KINDS, ORDERS, STATES, QueuedBatch, QueuedCase, QueuedRecord, Tally, Wanted
from flowguard.store.rules import LASTS, LONGEST, Rule, Rules
from flowguard.store.store import Store
from flowguard.store.totals import Observed, Scored, Total, Totals
from flowguard.store.users import ROLES, Account, Role, Users
from flowguard.store.verdicts import DECISIONS, Decision, Verdict, Verdicts

__all__ = [
    "DECISIONS",
    "KINDS",
    "LASTS",
    "LONGEST",
    "ORDERS",
    "ROLES",
    "STATES",
    "Account",
    "Alarm",
    "Aliases",
    "Batches",
    "Budgets",
    "Change",
    "Decision",
    "Drift",
    "DriftRecord",
    "Due",
    "Notice",
    "Notices",
    "Observed",
    "Queue",
    "QueuedBatch",
    "QueuedCase",
    "QueuedRecord",
    "Reservation",
    "Role",
    "Rule",
    "Rules",
    "Scored",
    "ScoredBatch",
    "Store",
    "Tally",
    "Total",
    "Totals",
    "Users",
    "Verdict",
    "Verdicts",
    "Wanted",
]
