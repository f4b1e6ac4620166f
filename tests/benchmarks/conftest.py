"""The benchmarks are no package: they are commands, whose folder is on the path when they run."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
# Loaded once for the processes that measure, which take a while to start otherwise.
multiprocessing.set_forkserver_preload(["pytest", "sklearn.metrics", "sklearn.preprocessing"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They fit detectors in processes of their own, which takes minutes: `make e2e` runs them."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
