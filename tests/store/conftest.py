"""A fresh store in SQLite for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowguard.store import Store


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'flowguard.db'}"


@pytest.fixture
def store(url: str) -> Store:
    return Store.open(url)
