"""Prune: what old batches, pages, versions and reviews left is removed, as the pipeline file says.

Law: what a version or a verdict still refers to stays, and so does all that is known of a batch but its records: its
manifest, its row in the store, its place in an error budget, its drift, every verdict. A pruned batch counts as scored.

Each removal first takes away what names the thing, then the thing. One that was killed leaves at most files that
nothing names, and the next one removes them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flowguard.errors import FlowguardError
from flowguard.logs import note, scoped
from flowguard.stages.manifest import manifests
from flowguard.stages.progress import work
from flowguard.stages.prune.found import Asked, Going, Kind, Staying, Step
from flowguard.stages.prune.leftovers import leftovers
from flowguard.stages.prune.pages import old_pages
from flowguard.stages.prune.review import old_reviews
from flowguard.stages.prune.scores import old_scores
from flowguard.stages.prune.versions import old_versions
from flowguard.stages.workspace import Workspace

__all__ = ["Going", "Kind", "Pruned", "Staying", "prune"]

LOG = logging.getLogger("flowguard.prune")


@dataclass(frozen=True)
class Pruned:
    """What was removed, or would be in a `dry_run`, and what stays although it is old.

    `retention` is what the pipeline file says, empty where everything is kept. `bytes` are those of the files;
    `undecided` the flagged records in the queue that nobody decided on.
    """

    pipeline: str
    at: datetime
    dry_run: bool
    retention: dict[str, int]
    removed: tuple[Going, ...]
    stays: tuple[Staying, ...]
    files: int
    bytes: int
    undecided: int


@scoped
def prune(pipeline: str | Path, *, dry_run: bool = False, now: datetime | None = None) -> Pruned:
    """Remove what `retention` in the pipeline file lets go; `now` (aware) is by default the present moment.

    Runs beside scoring: what changes meanwhile is left, and told with what stays. Raises `FlowguardError` for a
    manifest that cannot be read, before anything is removed.
    """
    workspace = Workspace.open(pipeline)
    at = (now or datetime.now(UTC)).astimezone(UTC)
    asked = Asked(workspace, at, tuple(manifests(workspace.folder)))
    note(pipeline=asked.name)
    scores, reviews = old_scores(asked), old_reviews(asked)
    versions = old_versions(
        asked,
        scores={(step.going.name, step.going.version) for step in scores.steps},
        queue={step.going.name for step in reviews.steps},
    )
    parts = (scores, reviews, versions, old_pages(asked), leftovers(asked))
    removed, stays = [], [one for part in parts for one in part.stays]
    steps = [step for part in parts for step in part.steps]
    with work("looking at what is old" if dry_run else "removing what is old", total=len(steps)) as bar:
        for step in steps:
            if dry_run or _taken(step):
                removed.append(step.going)
            else:
                stays.append(Staying(step.going.kind, step.going.name, "it changed meanwhile", step.going.version))
            bar.advance(1, step.going.name)
    done = Pruned(
        pipeline=asked.name,
        at=at,
        dry_run=dry_run,
        retention=asked.retention.asked,
        removed=tuple(removed),
        stays=tuple(stays),
        files=sum(one.files for one in removed),
        bytes=sum(one.bytes for one in removed),
        undecided=sum(one.undecided for one in removed),
    )
    LOG.info("would prune" if dry_run else "pruned", extra={"removed": len(removed), "bytes": done.bytes})
    return done


def _taken(step: Step) -> bool:
    try:
        return step.take()
    except OSError as error:
        raise FlowguardError(
            f"{step.going.name} could not be removed ({error.strerror or error}). What was removed before is told by "
            "the manifests; correct the permissions, and run the same command again to go on."
        ) from None
