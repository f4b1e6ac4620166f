"""Where a pipeline's pages lie, and what they are called."""

from __future__ import annotations

import os
from pathlib import Path

from flowguard.stages.workspace import Workspace

RUN, PICTURE, DRIFT = "run.html", "run.png", "drift.html"


def pages_of(workspace: Workspace) -> Path:
    """The folder of the pages, made where it is not there."""
    folder = workspace.folder / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def batch_page(batch: str) -> str:
    """The name of a batch's page.

    >>> batch_page("2013-05-25")
    'batch-2013-05-25.html'
    """
    return f"batch-{batch.replace(os.sep, '-')}.html"


def version_page(version: int) -> str:
    """The name of a version's page."""
    return f"version-{version}.html"


def drift_page(version: int, newest: int | None) -> str:
    """The name of the drift page of a version, of which `newest` is the newest that has observed batches."""
    return DRIFT if newest in (None, version) else f"drift-version-{version}.html"
