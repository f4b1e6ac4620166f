"""One database for the session, since making it takes two seconds. Tests keep apart by the names of models"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flowguard.detector.bundle import seal
from flowguard.registry import Registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("a registry")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", artifact_root=folder / "mlartifacts")


@pytest.fixture
def sealed(tmp_path: Path) -> Callable[[str], Path]:
    """A small sealed folder with the content asked for."""

    def make(content: str) -> Path:
        folder = tmp_path / f"bundle-{content}"
        seal(folder, documents={"content": content}, arrays={}, facts={})
        return folder

    return make
