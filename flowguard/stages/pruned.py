"""Pruned: what is said of batches whose scores retention took away, and which batches are still whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from flowguard.errors import InputError
from flowguard.stages.manifest import Manifest, manifest_path, read_manifest
from flowguard.stages.workspace import Workspace


def at_hand(scored: Mapping[str, Manifest]) -> dict[str, Manifest]:
    """The batches whose files are there; of the others is known that they were scored, and what came of it."""
    return {batch: manifest for batch, manifest in scored.items() if not manifest.was_pruned("scores")}


def refuse_pruned(scored: Mapping[str, Manifest], batch: str | None, file: object) -> None:
    """Raise `InputError` when the batch that is named was pruned, or every batch was where none is named."""
    if batch is not None and batch in scored and scored[batch].was_pruned("scores"):
        raise InputError(f"{pruned_words(scored[batch])} {again_words(batch, file)}")
    if batch is None and scored and not at_hand(scored):
        last = scored[max(scored)]
        raise InputError(
            f"All {len(scored):,} scored batches of {last.pipeline} were pruned, the last of them {last.batch}. "
            f"{again_words(last.batch, file)}"
        )


def pruned_words(manifest: Manifest, what: str = "scores") -> str:
    """When what was taken of a batch, and by which rule, in a sentence."""
    taken = (manifest.pruned or {})[what]
    told = f"Batch {manifest.batch} of {manifest.pipeline} was scored on {manifest.started[:10]} and"
    when = f"{datetime.fromisoformat(taken['at']):%Y-%m-%d} by `{taken['by']}`"
    if what == "review":
        return f"{told} taken out of the queue on {when}. Verdicts on its records stay."
    return f"{told} pruned on {when}: its scores, reasons and quarantine are gone."


def again_words(batch: str, file: object) -> str:
    """How a pruned batch comes back."""
    return f"To have it again: `flowguard score {file} --batch {batch} --force`."


def left_out_words(scored: Mapping[str, Manifest]) -> str:
    """How many batches a whole view leaves out because they were pruned, in a sentence; "" for none."""
    gone = sorted(set(scored) - set(at_hand(scored)))
    if not gone:
        return ""
    span = gone[0] if len(gone) == 1 else f"{len(gone):,} batches, {gone[0]} to {gone[-1]},"
    return f"{span} {'was' if len(gone) == 1 else 'were'} pruned and not counted here."


def out_of_queue(workspace: Workspace, batches: Collection[str]) -> str:
    """Why the first of these batches that was taken out of the queue, or pruned, is not there; "" for none."""
    for batch in batches:
        # Only what the store knows is a batch's name, and becomes part of a path.
        known = workspace.store.batches.of(workspace.pipeline.name, batch=batch)
        found = [read_manifest(manifest_path(workspace.folder, one.batch, one.version)) for one in known]
        newest = max((one for one in found if one is not None), key=lambda one: one.started, default=None)
        for what in ("review", "scores"):
            if newest is not None and newest.was_pruned(what):
                return pruned_words(newest, what)
    return ""
