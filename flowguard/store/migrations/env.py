"""Run by alembic for each upgrade, within the transaction of the connection that `upgrade` hands over."""

from __future__ import annotations

from alembic import context

from flowguard.store.schema import METADATA, REVISIONS


def run() -> None:
    """Run the revisions that alembic asks for."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=METADATA,
        version_table=REVISIONS,
        transactional_ddl=True,  # also on SQLite: our driver settings leave DDL in the transaction
    )
    with context.begin_transaction():
        context.run_migrations()


# alembic runs this file under a name of its own; imported as a module, by what collects examples, it does nothing.
if not __name__.startswith("flowguard."):
    run()
