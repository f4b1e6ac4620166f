"""The scores, reasons and quarantine of old batches; their manifests stay and say so."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from flowguard.stages.manifest import Manifest, manifest_path, read_manifest, write_manifest
from flowguard.stages.prune.files import FINISHED, KINDS, own_file
from flowguard.stages.prune.found import Asked, Found, Going, Staying, Step
from flowguard.stages.prune.rolled import Rolls

_STRANGE = "its manifest names what is no file of a scored batch"


def old_scores(asked: Asked) -> Found:
    """What `retention.scores` takes: all files of a batch under a version that scored it long ago.

    It stays where a verdict refers to it, where the rolling calibration of a version ranks the next batches among its
    records, and where a file is not what flowguard puts there.
    """
    days, found = asked.retention.scores, Found([], [])
    if days is None:
        return found
    judged, rolls = asked.workspace.store.pruning.judged(asked.name), Rolls(asked)
    for manifest in asked.manifests:
        if not manifest.files or not asked.old(datetime.fromisoformat(manifest.started), days):
            continue
        paths = _paths(asked.workspace.folder, manifest)
        if (manifest.batch, manifest.version) in judged:
            found.stays.append(Staying("scores", manifest.batch, "a verdict refers to it", manifest.version))
        elif why := rolls.need(manifest):
            found.stays.append(Staying("scores", manifest.batch, why, manifest.version))
        elif paths is None:
            found.stays.append(Staying("scores", manifest.batch, _STRANGE, manifest.version))
        else:
            rule, size = asked.retention.words("scores"), sum(paths.values())
            going = Going("scores", manifest.batch, rule, manifest.version, len(paths), size)
            found.steps.append(Step(going, partial(_take, asked, manifest)))
    return found


def _take(asked: Asked, manifest: Manifest) -> bool:
    """Say so in the manifest, which then names no file, and remove the files: killed between, nothing names them."""
    folder = asked.workspace.folder
    with asked.workspace.store.pruning.taking(asked.name, manifest.batch) as judged:
        now = read_manifest(manifest_path(folder, manifest.batch, manifest.version))
        if now is None or now.started != manifest.started or now.files != manifest.files:
            return False
        paths = _paths(folder, now)
        if manifest.version in judged or paths is None:
            return False
        said = {"at": asked.now.isoformat(timespec="seconds"), "by": asked.retention.words("scores")}
        write_manifest(folder, replace(now, files={}, pruned={**(now.pruned or {}), "scores": said}))
        for path in paths:
            os.unlink(path)
    return True


def _paths(folder: Path, manifest: Manifest) -> dict[Path, int] | None:
    """The manifest's files that are there, with their bytes; None where one is not a file as scoring puts it there."""
    paths = {}
    for kind, text in manifest.files.items():
        path = folder / text
        home = folder / kind / f"batch={manifest.batch}" / f"version={manifest.version}"
        if kind not in KINDS or path.parent != home or not FINISHED.fullmatch(path.name):
            return None
        state = own_file(folder, path)
        if state is not None:
            paths[path] = state.st_size
        elif os.path.lexists(path):
            return None
    return paths
