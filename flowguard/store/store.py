"""The store: one database for what must be remembered between runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowguard.store.address import parsed
from flowguard.store.aliases import Aliases
from flowguard.store.batches import Batches
from flowguard.store.budgets import Budgets
from flowguard.store.database import Database, connected
from flowguard.store.drift import Drift
from flowguard.store.notices import Notices
from flowguard.store.pruning import Pruning
from flowguard.store.queue import Queue
from flowguard.store.rules import Rules
from flowguard.store.totals import Totals
from flowguard.store.upgrade import upgrade
from flowguard.store.users import Users
from flowguard.store.verdicts import Verdicts


@dataclass(frozen=True)
class Store:
    """An open store; `address` is its URL without password. It holds no connection: there is nothing to close.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store.open(f"sqlite:///{folder}/runs/flowguard.db")  # makes the folder, the file and the tables
    ...     store.batches.of("meters")
    []
    """

    database: Database = field(repr=False)
    address: str
    batches: Batches = field(repr=False)
    drift: Drift = field(repr=False)
    budgets: Budgets = field(repr=False)
    aliases: Aliases = field(repr=False)
    verdicts: Verdicts = field(repr=False)
    users: Users = field(repr=False)
    queue: Queue = field(repr=False)
    rules: Rules = field(repr=False)
    pruning: Pruning = field(repr=False)
    totals: Totals = field(repr=False)
    notices: Notices = field(repr=False)

    @classmethod
    def open(cls, url: str, *, pooled: bool = False) -> Store:
        """The store at `url`, made if there is none and brought to this flowguard's schema if it is older.

        `sqlite:///relative.db` or `sqlite:////absolute.db` for the processes of one machine (a file on a network drive
        is not safe), `postgresql://user:password@host/database` for several, always with the driver psycopg.

        With `pooled` connections to PostgreSQL are kept, for a process that asks all the time and does not fork.

        Any number of processes may open a new store at once. Raises `InputError` for an address that can be no store
        and `StoreError` when it cannot be reached, read or written, or was made by a newer flowguard.
        """
        database = connected(parsed(url), pooled=pooled)
        upgrade(database)
        return cls(
            database=database,
            address=database.address,
            batches=Batches(database),
            drift=Drift(database),
            budgets=Budgets(database),
            aliases=Aliases(database),
            verdicts=Verdicts(database),
            users=Users(database),
            queue=Queue(database),
            rules=Rules(database),
            pruning=Pruning(database),
            totals=Totals(database),
            notices=Notices(database),
        )
