"""The tables of the store. To change them: change them here and add a revision in `migrations/versions`.

A test holds that both agree.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from flowguard.store.moment import Moment

HEAD = "0002"  # the newest revision in migrations/versions
REVISIONS = "flowguard_revision"  # not alembic's own name: MLflow or Prefect may share the database
METADATA = MetaData()

BATCHES = Table(
    "batches",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    Column("batch", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("bundle", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("read", BigInteger, nullable=False),
    Column("scored", BigInteger, nullable=False),
    Column("flagged", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("policy", Text, nullable=False),
    Column("scored_at", Moment, nullable=False),
)

DRIFT = Table(
    "drift",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    Column("batch", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
    Column("measured_at", Moment, nullable=False),
)

ALARMS = Table(
    "alarms",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    Column("batch", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Double, nullable=False),
    ForeignKeyConstraint(
        ["pipeline", "batch", "version"],
        ["drift.pipeline", "drift.batch", "drift.version"],
        name="alarms_of_drift",
        ondelete="CASCADE",
    ),
)

BUDGETS = Table(
    "budgets",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("batch", Text, primary_key=True),
    Column("t", Integer, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("discoveries_before", BigInteger, nullable=False),
    Column("discoveries", BigInteger, nullable=False),
    Column("level", Double, nullable=False),
    Column("decided_at", Moment, nullable=False),
    UniqueConstraint("pipeline", "key", "t", name="budgets_in_order"),
)

ALIASES = Table(
    "aliases",
    METADATA,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    # The primary key is what lets one of two racing changes win.
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

VERDICTS = Table(
    "verdicts",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    # The primary key is what lets one of two racing entries win.
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("record_id", Text, nullable=False),
    Column("batch", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("decision", Text),
    Column("note", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("score", Double, nullable=False),
    Column("p_value", Double, nullable=False),
    Column("flagged", Boolean, nullable=False),
    Column("audited", Boolean, nullable=False),
    Column("case_id", Text),
    Column("undoes", BigInteger),
    Column("at", Moment, nullable=False),
    Index("verdicts_by_record", "pipeline", "record_id", "id"),
)
