"""The pipelines of a desk, each read from its file once and again when the file has changed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from fastapi import Request

from flowguard.review.web.page import file_of
from flowguard.stages.workspace import Workspace


def workspace_of(request: Request, pipeline: str) -> Workspace:
    """The workspace of a pipeline; a dependency of pages whose path has `{pipeline}`. 404 for one not shown here."""
    file = file_of(request, pipeline)
    return _read(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _read(file: Path, changed: int) -> Workspace:
    return Workspace.open(file)
