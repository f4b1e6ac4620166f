"""Totals in a real PostgreSQL server: what holds on SQLite holds there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowguard.store import Store
from tests.e2e.test_store_postgres import Server, server  # noqa: F401 - a fixture
from tests.store.test_totals import *  # noqa: F403 - the very same tests

pytestmark = pytest.mark.e2e


@pytest.fixture
def store(server: Server) -> Iterator[Store]:  # noqa: F811
    found = Store.open(server.url(server.new()), pooled=True)
    yield found
    found.database.engine.dispose()
