"""Old versions that nothing refers to, with their runs, their drift and the copies of them that were fetched."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import partial

from flowguard.errors import RegistryError
from flowguard.registry import CHAMPION, Version
from flowguard.stages.manifest import manifests
from flowguard.stages.prune.files import own_folder, size_within, take_folder
from flowguard.stages.prune.found import Asked, Found, Going, Staying, Step
from flowguard.stages.score import bundles

_ELSEWHERE = "its files lie outside of the registry's own folder"
_DIGEST = re.compile(r"[0-9a-f]{64}")


def old_versions(asked: Asked, *, scores: Collection[tuple[str, int | None]], queue: Collection[str]) -> Found:
    """What `retention.versions` takes, when the `scores` (batch and version) and the batches of the `queue` are gone.

    All but the newest so many go, unless something refers to one: an alias, the way back to the champion before, a
    scored batch, the queue, a verdict, or a version that was recalibrated from it.
    """
    keep, found = asked.retention.versions, Found([], [])
    if keep is None:
        return found
    registry = asked.workspace.registry
    versions = registry.versions(asked.name)
    why = _referred(asked, versions, keep, scores, queue)
    # Copies first: a version that is still there can be fetched again, one that is gone tells of no copy.
    found.steps.extend(_copies(asked, [one for one in versions[keep:] if one.version not in why]))
    for version in reversed(versions[keep:]):
        name, number = f"version {version.version}", version.version
        if number in why:
            found.stays.append(Staying("version", name, why[number], number))
        elif not registry.holds(version):
            found.stays.append(Staying("version", name, _ELSEWHERE, number))
        else:
            going = Going("version", name, asked.retention.words("versions"), number, *registry.size(version))
            found.steps.append(Step(going, partial(_take, asked, version)))
    for run, of in registry.begun_removals(asked.name).items():
        going = Going("leftover", f"the run of version {of}", "the pruning that removed the version was stopped")
        found.steps.append(Step(going, partial(_end, asked, run)))
    return found


def _referred(
    asked: Asked,
    versions: list[Version],
    keep: int,
    scores: Collection[tuple[str, int | None]],
    queue: Collection[str],
) -> dict[int, str]:
    """Of each version that is referred to, by what."""
    store, why = asked.workspace.store, dict[int, str]()
    for version in versions:
        if version.aliases:
            why[version.version] = ", ".join(version.aliases)
    last = store.aliases.latest(asked.name, CHAMPION)
    if last is not None and last.to_version is not None:
        why.setdefault(last.to_version, "the champion by the journal")
    before = _champion_before(asked, versions)
    if before is not None:
        why.setdefault(before, "the champion before the present one, to go back to")
    for _, judged in sorted(store.pruning.judged(asked.name)):
        why.setdefault(judged, "a verdict was given on its word")
    for one in asked.manifests:
        if one.files and (one.batch, one.version) not in scores:
            why.setdefault(one.version, "scored batches name it")
    for batch in store.queue.batches(asked.name):
        if batch.batch not in queue:
            why.setdefault(batch.version, "the queue shows what it said")
    # Newest first, so that a parent's parent is met after its own child.
    for place, version in enumerate(versions):
        parent = version.tags.get("recalibrated", "")
        if parent.isdigit() and (place < keep or version.version in why):
            why.setdefault(int(parent), f"version {version.version} was recalibrated from it")
    return why


def _champion_before(asked: Asked, versions: Iterable[Version]) -> int | None:
    champion = next((one.version for one in versions if CHAMPION in one.aliases), None)
    changes = asked.workspace.store.aliases.of(asked.name, CHAMPION)
    back = [one.from_version for one in changes if one.to_version == champion and one.from_version != champion]
    return back[-1] if back else None


def _take(asked: Asked, version: Version) -> bool:
    """What refers to the version goes before it; it stays where something came to refer to it meanwhile."""
    workspace = asked.workspace
    registry, store = workspace.registry, workspace.store
    last = store.aliases.latest(asked.name, CHAMPION)  # a promotion writes here first
    if last is not None and last.to_version == version.version:
        return False
    if version.version in {number for _, number in store.pruning.judged(asked.name)}:
        return False
    if any(one.files for one in manifests(workspace.folder, version=version.version)):
        return False
    if any(one.version == version.version for one in store.queue.batches(asked.name)):
        return False
    try:
        if registry.resolve(asked.name, version.version).aliases:
            return False
    except RegistryError:
        return False  # removed by somebody else
    store.pruning.take_drift(asked.name, version.version)
    registry.remove(version)
    return True


def _end(asked: Asked, run: str) -> bool:
    asked.workspace.registry.end_removal(run)
    return True


def _copies(asked: Asked, going: list[Version]) -> Iterable[Step]:
    """Fetched copies of versions that go, or are gone, that no batch's files and no other model's version needs."""
    folder = bundles(asked.workspace)
    gone = {one.digest for one in going}
    used = {one.digest for one in asked.workspace.registry.versions() if one not in going}
    used |= {one.bundle for one in asked.manifests if one.files and one.bundle not in gone}
    for digest in sorted((gone | {one.bundle for one in asked.manifests}) - used):
        copy = folder / digest
        if _DIGEST.fullmatch(digest) and own_folder(folder, copy):
            taken = Going("bundle", digest[:12], asked.retention.words("versions"), None, *size_within(copy))
            yield Step(taken, partial(take_folder, copy))
