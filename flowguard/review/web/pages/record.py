"""A record: what is known of it, what was decided on it, and what it is like."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from flowguard.errors import FlowguardError
from flowguard.review.web.listing import Listing, listing
from flowguard.review.web.page import page
from flowguard.review.web.shelf import workspace_of
from flowguard.review.web.shown import card_of, marked, score_plots
from flowguard.review.web.who import User, current
from flowguard.stages.queued import reasons_of
from flowguard.stages.why import why
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
        answer = why(workspace.pipeline.path, record_id, batch=batch, near=3)
    except FlowguardError as error:
        return page(request, "counterparts.html", said=None, words=str(error), record_id=record_id, pipeline=pipeline)
    return page(request, "counterparts.html", said=answer.record, words="", record_id=record_id, pipeline=pipeline)


def _back(asked: Listing) -> str:
    wanted = asked.wanted
    if wanted.case_id is not None and wanted.batch is not None:
        return f"/p/{quote(asked.pipeline, safe='')}/cases/{quote(wanted.case_id)}?batch={quote(wanted.batch)}"
    return asked.href()


def _elsewhere(request: Request, workspace: Workspace, record_id: str, batch: str | None) -> Response:
    """A record that is not in the queue (any more): what was scored and decided is told all the same."""
    name = workspace.pipeline.name
    entries = workspace.store.verdicts.history(name, record_id)
    try:
        answer = why(workspace.pipeline.path, record_id, batch=batch, near=0)
    except FlowguardError:
        # The error names files of the desk's machine, which are of no use to who reads this.
        words = f"No scored record of {name} has the id {record_id[:60]}."
        if not entries:
            raise HTTPException(404, words) from None
        return page(request, "record_elsewhere.html", said=None, words=words, entries=entries, name=name)
    return page(request, "record_elsewhere.html", said=answer.record, words="", entries=entries, name=name)
