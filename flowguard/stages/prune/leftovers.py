"""What killed runs left behind: temporary files and folders, and files that no manifest names.

A day old, nobody works with them any more. The work of a training that was stopped stays: it is gone on with.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from flowguard.stages.manifest import Manifest, manifest_path, read_manifest
from flowguard.stages.prune.files import FINISHED, KINDS, UNFINISHED, entries, newest_within, own_file, size_within
from flowguard.stages.prune.found import Asked, Found, Going, Step
from flowguard.stages.score import bundles

DAYS = 1
WHY = "left by a run that was stopped"
_FOLDERS = re.compile(r"\.(dealing|recalibrating)-\w+")
_FETCHED = re.compile(r"\.fetch-[\w-]+")


def leftovers(asked: Asked) -> Found:
    """All of them; only where the pipeline file asks for retention at all."""
    found = Found([], [])
    if not asked.retention.asked:
        return found
    folder = asked.workspace.folder
    by_name = {(one.batch, one.version): one for one in asked.manifests}
    for kind in KINDS:
        for of_batch in entries(folder, folder / kind):
            for of_version in entries(folder, of_batch):
                found.steps.extend(_of_batch(asked, of_version, by_name))
    for place in (folder / "reports", *entries(folder, folder / "manifests")):
        found.steps.extend(_files(asked, place, UNFINISHED))
    found.steps.extend(_folders(asked, folder, folder / "work", _FOLDERS))
    found.steps.extend(_folders(asked, asked.workspace.runs, bundles(asked.workspace), _FETCHED))
    return found


def _of_batch(asked: Asked, place: Path, by_name: dict[tuple[str, int], Manifest]) -> Iterator[Step]:
    """Files of a batch under a version that its manifest does not name."""
    batch, version = place.parent.name.removeprefix("batch="), place.name.removeprefix("version=")
    if not version.isdigit():
        return
    manifest = by_name.get((batch, int(version)))
    for path, going in _known(asked, place, FINISHED, UNFINISHED):
        if FINISHED.fullmatch(path.name):
            if manifest is not None and _named(asked, manifest, path):
                continue
            # A pruned manifest names none, however young they are: the pruning was stopped before it removed them.
            if not (manifest is not None and manifest.was_pruned("scores")) and not _left(path):
                continue
            yield Step(going, partial(_take_unnamed, asked, path, batch, int(version)))
        elif _left(path):
            yield Step(going, partial(_take, path))


def _files(asked: Asked, place: Path, pattern: re.Pattern[str]) -> Iterator[Step]:
    for path, going in _known(asked, place, pattern):
        if _left(path):
            yield Step(going, partial(_take, path))


def _known(asked: Asked, place: Path, *patterns: re.Pattern[str]) -> Iterator[tuple[Path, Going]]:
    folder = asked.workspace.folder
    for path in entries(folder, place):
        state = own_file(folder, path)
        if state is not None and any(pattern.fullmatch(path.name) for pattern in patterns):
            yield path, Going("leftover", path.relative_to(folder).as_posix(), WHY, None, 1, state.st_size)


def _folders(asked: Asked, above: Path, place: Path, pattern: re.Pattern[str]) -> Iterator[Step]:
    for path in entries(above, place):
        if pattern.fullmatch(path.name) and path.is_dir() and not path.is_symlink() and _left(path):
            going = Going("leftover", path.relative_to(above).as_posix(), WHY, None, *size_within(path))
            yield Step(going, partial(_take, path, shutil.rmtree))


def _left(path: Path) -> bool:
    try:
        # By the clock, whatever moment is asked of: runs work now.
        return time.time() - newest_within(path) > DAYS * 86_400
    except FileNotFoundError:  # renamed by the run that wrote it
        return False


def _named(asked: Asked, manifest: Manifest, path: Path) -> bool:
    return path.relative_to(asked.workspace.folder).as_posix() in manifest.files.values()


def _take(path: Path, remove: Callable[[Path], object] = os.unlink) -> bool:
    try:
        remove(path)
    except FileNotFoundError:
        return False
    return True


def _take_unnamed(asked: Asked, path: Path, batch: str, version: int) -> bool:
    with asked.workspace.store.pruning.alone(asked.name, batch):
        now = read_manifest(manifest_path(asked.workspace.folder, batch, version))
        return not (now is not None and _named(asked, now, path)) and _take(path)
