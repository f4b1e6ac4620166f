"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["address", "aliases", "batches", "budgets", "drift", "moment", "store"])
def test_the_examples_run(name: str) -> None:
    done = doctest.testmod(importlib.import_module(f"flowguard.store.{name}"))
    assert done.attempted > 0
    assert done.failed == 0
