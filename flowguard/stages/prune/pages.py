"""Old pages: of batches, versions, the run and the drift."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from flowguard.stages.pages import DRIFT, PICTURE, RUN, batch_page
from flowguard.stages.prune.files import entries, own_file
from flowguard.stages.prune.found import Asked, Found, Going, Step

_OF_VERSIONS = re.compile(r"(drift-)?version-\d+\.html")


def old_pages(asked: Asked) -> Found:
    """What `retention.reports` takes: pages that were written long ago, whatever they show."""
    days, found = asked.retention.reports, Found([], [])
    if days is None:
        return found
    folder = asked.workspace.folder
    known = {RUN, PICTURE, DRIFT, *(batch_page(one.batch) for one in asked.manifests)}
    for path in entries(folder, folder / "reports"):
        state = own_file(folder, path)
        if state is None or not (path.name in known or _OF_VERSIONS.fullmatch(path.name)):
            continue
        if asked.old(datetime.fromtimestamp(state.st_mtime, UTC), days):
            going = Going("page", path.name, asked.retention.words("reports"), None, 1, state.st_size)
            found.steps.append(Step(going, partial(_take, folder, path, state.st_mtime_ns)))
    return found


def _take(folder: Path, path: Path, written: int) -> bool:
    state = own_file(folder, path)
    if state is None or state.st_mtime_ns != written:
        return False
    os.unlink(path)
    return True
