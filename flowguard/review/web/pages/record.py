"""A record: what is known of it, what was decided on it, and what it is like."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from flowguard.errors import FlowguardError, InputError
from flowguard.review.web.listing import Listing, listing
from flowguard.review.web.page import page
from flowguard.review.web.shelf import workspace_of
from flowguard.review.web.shown import card_of, marked, score_plots
from flowguard.review.web.who import User, current
from flowguard.stages.lookup import RECORD_ID
from flowguard.stages.pruned import out_of_queue
from flowguard.stages.queued import reasons_of
from flowguard.stages.why import Why, why
from flowguard.stages.workspace import Workspace

router = APIRouter()


@router.get("/p/{pipeline}/records/{record_id}")
def record(
    request: Request,
    pipeline: str,
    record_id: str,
    batch: str | None = None,
    all: bool = False,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """A record in the batch that is named, or in the one that was scored last."""
    queue = workspace.store.queue
    found = queue.deliveries(pipeline, record_id)
    one = next((each for each in found if each.batch == batch), found[0] if found else None)
    if one is None:
        return _elsewhere(request, workspace, record_id, batch)
    of = queue.batch(pipeline, one.batch)
    assert of is not None, "records go with their batch"
    asked = listing(request, pipeline, batch=None if all else one.batch)
    before, after = queue.beside(pipeline, asked.wanted, one)
    return page(
        request,
        "record.html",
        card=card_of(one),
        record=one,
        reasons=reasons_of(one),
        batch=of,
        listing=asked,
        back=_back(asked),
        before=asked.record_href(before.record_id, before.batch) if before else None,
        after=asked.record_href(after.record_id, after.batch) if after else None,
        entries=workspace.store.verdicts.history(pipeline, record_id),
        deliveries=found,
        plots=score_plots(of),
        marks=marked(of, one.score),
        root=f"/p/{quote(pipeline, safe='')}",
    )


@router.get("/p/{pipeline}/records/{record_id}/counterparts")
def counterparts(
    request: Request,
    pipeline: str,
    record_id: str,
    batch: str,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """The nearest ordinary records and flagged ones like it: the model is asked, so that this part comes later."""
    try:
        said, words = _why(workspace, record_id, batch, near=3), ""
    except FlowguardError as error:
        said, words = None, str(error)
    return page(request, "counterparts.html", said=said, words=words, pipeline=pipeline)


def _back(asked: Listing) -> str:
    of_case = asked.wanted.case_id is not None and asked.wanted.batch is not None
    return replace(asked, case=of_case).href()


def _elsewhere(request: Request, workspace: Workspace, record_id: str, batch: str | None) -> Response:
    """A record that is not in the queue (any more): what was scored and decided is told all the same."""
    name = workspace.pipeline.name
    entries = workspace.store.verdicts.history(name, record_id)
    try:
        said = _why(workspace, record_id, batch, near=0)
    except FlowguardError:
        # The error names files of the desk's machine, which are of no use to who reads this.
        decided_in = [entry.batch for entry in reversed(entries)]
        pruned = out_of_queue(workspace, [batch] if batch is not None else decided_in)
        words = " ".join(filter(None, [f"No scored record of {name} has the id {record_id[:60]}.", pruned]))
        if not entries:
            raise HTTPException(404, words) from None
        return page(request, "record_elsewhere.html", said=None, words=words, entries=entries, name=name)
    return page(request, "record_elsewhere.html", said=said, words="", entries=entries, name=name)


def _why(workspace: Workspace, record_id: str, batch: str | None, *, near: int) -> Why:
    """What is known of a record; of one that came in several batches, in the one that was scored last.

    An id and nothing else is looked up: whoever could ask for a value of the key could ask for redacted ones.
    """
    if not RECORD_ID.fullmatch(record_id):
        raise InputError("A record's id has 32 hexadecimal digits.")
    answer = why(workspace.pipeline.path, record_id, batch=batch, near=near)
    if answer.record is None:
        newest = max(answer.matches, key=lambda one: one.scored_at)
        answer = why(workspace.pipeline.path, record_id, batch=newest.batch, version=newest.version, near=near)
    if answer.record is None:
        raise InputError(f"Several records of one batch have the id {record_id}.")
    return answer.record
