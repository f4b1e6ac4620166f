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

HEAD = "0004"  # the newest revision in migrations/versions
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

# What the desk shows, batch by batch: copied from the scored files, so that a page is a question to the database.
QUEUED_BATCHES = Table(
    "queued_batches",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    Column("batch", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("bundle", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("read", BigInteger, nullable=False),
    Column("scored", BigInteger, nullable=False),
    Column("flagged", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Column("scored_at", Moment, nullable=False),
)

# Narrow, so that counting and sorting 100,000 of them takes milliseconds; the rest of a record is its document.
QUEUED_RECORDS = Table(
    "queued_records",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    Column("batch", Text, primary_key=True),
    Column("record_id", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("flagged", Boolean, nullable=False),
    Column("audited", Boolean, nullable=False),
    Column("score", Double, nullable=False),
    Column("p_value", Double, nullable=False),
    Column("case_id", Text),
    # The rule that keeps it from the analyst's eyes, the last entry on it and what that decided.
    Column("rule", BigInteger),
    Column("entry", BigInteger),
    Column("decision", Text),
    Column("search", Text, nullable=False),
    # The same for looking in: databases fold the case of some letters and not of others.
    Column("folded", Text, nullable=False),
    ForeignKeyConstraint(
        ["pipeline", "batch"],
        ["queued_batches.pipeline", "queued_batches.batch"],
        name="queued_records_of_batch",
        ondelete="CASCADE",
    ),
    Index("queued_records_by_strangeness", "pipeline", "batch", "flagged", "p_value", "score", "record_id"),
    Index("queued_records_by_p_value", "pipeline", "flagged", "p_value", "score", "record_id"),
    Index("queued_records_by_decision", "pipeline", "batch", "flagged", "rule", "decision"),
    Index("queued_records_by_record", "pipeline", "record_id"),
    Index("queued_records_by_case", "pipeline", "batch", "flagged", "rule", "case_id", "decision", "entry"),
    Index("queued_records_by_key", "pipeline", "flagged", "folded", "record_id"),
    sqlite_with_rowid=False,
)

QUEUED_DOCUMENTS = Table(
    "queued_documents",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    Column("batch", Text, primary_key=True),
    Column("record_id", Text, primary_key=True),
    Column("document", Text, nullable=False),
    ForeignKeyConstraint(
        ["pipeline", "batch", "record_id"],
        ["queued_records.pipeline", "queued_records.batch", "queued_records.record_id"],
        name="queued_documents_of_record",
        ondelete="CASCADE",
    ),
)

# What records are filtered by: the columns of their reasons (`name` is "") and their context, as text.
QUEUED_MARKS = Table(
    "queued_marks",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("batch", Text, primary_key=True),
    Column("record_id", Text, primary_key=True),
    ForeignKeyConstraint(
        ["pipeline", "batch", "record_id"],
        ["queued_records.pipeline", "queued_records.batch", "queued_records.record_id"],
        name="queued_marks_of_record",
        ondelete="CASCADE",
    ),
    Index("queued_marks_by_batch", "pipeline", "batch", "name", "value", "record_id"),
    sqlite_with_rowid=False,
)

QUEUED_CASES = Table(
    "queued_cases",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    Column("batch", Text, primary_key=True),
    Column("case_id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("document", Text, nullable=False),
    ForeignKeyConstraint(
        ["pipeline", "batch"],
        ["queued_batches.pipeline", "queued_batches.batch"],
        name="queued_cases_of_batch",
        ondelete="CASCADE",
    ),
)

# "Ordinary, stop telling me": which records the analyst need not see, until when, and who said so.
RULES = Table(
    "rules",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("revoked_by", Text),
    Column("revoked_at", Moment),
)

USERS = Table(
    "users",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password", Text, nullable=False),  # a hash
    Column("changed_by", Text, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

# What people were told, or will be: each event once, with the addresses that it reached.
NOTICES = Table(
    "notices",
    METADATA,
    Column("pipeline", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reached", Text, nullable=False),
    # The run that noticed it: what one run notices goes into one message.
    Column("occasion", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("noticed_at", Moment, nullable=False),
    # Who is sending it at the moment, and since when.
    Column("sender", Text),
    Column("claimed_at", Moment),
    Column("told_at", Moment),
    Index("notices_by_state", "pipeline", "state", "kind"),
    Index("notices_by_time", "pipeline", "kind", "told_at"),
)
