"""The desk: its queue, rules and users."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "queued_batches",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("bundle", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("read", sa.BigInteger(), nullable=False),
        sa.Column("scored", sa.BigInteger(), nullable=False),
        sa.Column("flagged", sa.BigInteger(), nullable=False),
        sa.Column("quarantined", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "batch"),
    )
    op.create_table(
        "queued_records",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("flagged", sa.Boolean(), nullable=False),
        sa.Column("audited", sa.Boolean(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("p_value", sa.Double(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("rule", sa.BigInteger(), nullable=True),
        sa.Column("entry", sa.BigInteger(), nullable=True),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("search", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "batch", "record_id"),
        sa.ForeignKeyConstraint(
            ["pipeline", "batch"],
            ["queued_batches.pipeline", "queued_batches.batch"],
            name="queued_records_of_batch",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    records = (
        ("strangeness", ["pipeline", "batch", "flagged", "p_value", "score", "record_id"]),
        ("p_value", ["pipeline", "flagged", "p_value", "score", "record_id"]),
        ("decision", ["pipeline", "batch", "flagged", "rule", "decision"]),
        ("record", ["pipeline", "record_id"]),
        ("case", ["pipeline", "batch", "flagged", "rule", "case_id", "decision", "entry"]),
        ("key", ["pipeline", "flagged", "folded", "record_id"]),
    )
    for name, columns in records:
        op.create_index(f"queued_records_by_{name}", "queued_records", columns)
    op.create_table(
        "queued_documents",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "batch", "record_id"),
        sa.ForeignKeyConstraint(
            ["pipeline", "batch", "record_id"],
            ["queued_records.pipeline", "queued_records.batch", "queued_records.record_id"],
            name="queued_documents_of_record",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "queued_marks",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "name", "value", "batch", "record_id"),
        sa.ForeignKeyConstraint(
            ["pipeline", "batch", "record_id"],
            ["queued_records.pipeline", "queued_records.batch", "queued_records.record_id"],
            name="queued_marks_of_record",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    marks = ["pipeline", "batch", "name", "value", "record_id"]
    op.create_index("queued_marks_by_batch", "queued_marks", marks)
    op.create_table(
        "queued_cases",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "batch", "case_id"),
        sa.ForeignKeyConstraint(
            ["pipeline", "batch"],
            ["queued_batches.pipeline", "queued_batches.batch"],
            name="queued_cases_of_batch",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "rules",
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("pipeline", "id"),
    )
    op.create_table(
        "users",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
