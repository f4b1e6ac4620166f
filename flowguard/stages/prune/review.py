"""Old batches leave the queue of the desk; verdicts on their records stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial

from flowguard.stages.manifest import manifest_path, read_manifest, write_manifest
from flowguard.stages.prune.found import Asked, Found, Going, Step
from flowguard.store import QueuedBatch, Tally


def old_reviews(asked: Asked) -> Found:
    """What `retention.review` takes: the queue's copy of a batch that was scored long ago, decided or not."""
    days, found = asked.retention.review, Found([], [])
    if days is None:
        return found
    queue = asked.workspace.store.queue
    tallies = queue.tallies(asked.name)
    for batch in queue.batches(asked.name):
        if asked.old(batch.scored_at, days):
            undecided = tallies.get(batch.batch, Tally()).open
            going = Going("queue", batch.batch, asked.retention.words("review"), undecided=undecided)
            found.steps.append(Step(going, partial(_take, asked, batch, days)))
    return found


def _take(asked: Asked, batch: QueuedBatch, days: int) -> bool:
    """Say so in the manifests of the batch, so that it is not queued again, then take it out."""
    workspace = asked.workspace
    said = {"at": asked.now.isoformat(timespec="seconds"), "by": asked.retention.words("review")}
    # The batch is one that the queue knows by its name; its name in a pattern would be another's.
    mine = [one for one in asked.manifests if one.batch == batch.batch]
    with workspace.store.pruning.alone(asked.name, batch.batch):
        for one in mine:
            now = read_manifest(manifest_path(workspace.folder, one.batch, one.version))
            if now is not None and asked.old(datetime.fromisoformat(now.started), days):
                write_manifest(workspace.folder, replace(now, pruned={**(now.pruned or {}), "review": said}))
    return workspace.store.pruning.take_queued(asked.name, batch.batch, batch.scored_at)
