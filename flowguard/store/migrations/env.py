"""Run by alembic for each upgrade, within the transaction of the connection that `upgrade` hands over."""

from __future__ import annotations

from alembic import context

from flowguard.store.schema import METADATA, REVISIONS

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=REVISIONS,
    transactional_ddl=True,  # also on SQLite: our driver settings leave DDL in the transaction
)
with context.begin_transaction():
    context.run_migrations()
