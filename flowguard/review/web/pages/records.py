"""Lists of records: a batch with its cases, all batches, one case; as pages and as files."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from flowguard.review.web.listing import PER_PAGE, Listing, listing
from flowguard.review.web.page import page
from flowguard.review.web.shelf import workspace_of
from flowguard.review.web.shown import card_of, score_plots
from flowguard.review.web.who import User, current
from flowguard.stages.pruned import out_of_queue
from flowguard.stages.workspace import Workspace
from flowguard.store import QueuedBatch, QueuedRecord, Wanted

router = APIRouter()

#: Cases of a batch that are listed, and values of one filter.
MOST_CASES, MOST_VALUES = 200, 40


@router.get("/p/{pipeline}/batches/{batch:path}")
def of_batch(
    request: Request,
    pipeline: str,
    batch: str,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """A batch: its figures, its cases, then its records."""
    found = workspace.store.queue.batch(pipeline, batch)
    if found is None:
        unknown = "It may not have been scored yet, or under another name."
        why = out_of_queue(workspace, [batch]) or unknown
        raise HTTPException(404, f"Batch {batch} of {pipeline} is not in the queue. {why}")
    asked = listing(request, pipeline, batch=batch)
    queue = workspace.store.queue
    cases = queue.cases(pipeline, batch)
    near = _near(queue.batches(pipeline), batch)
    return page(
        request,
        "batch_desk.html",
        batch=found,
        tally=queue.tallies(pipeline, batch).get(batch),
        cases=cases[:MOST_CASES],
        more_cases=max(0, len(cases) - MOST_CASES),
        heaviest=max((one.document["weight"] for one in cases), default=0.0),
        before=near[0],
        after=near[1],
        plots=score_plots(found),
        document=found.document,
        drawn=_drawn(workspace, asked),
        **_list(workspace, asked),
        **_filters(workspace, asked),
    )


@router.get("/p/{pipeline}/records")
def everywhere(
    request: Request, pipeline: str, workspace: Workspace = Depends(workspace_of), user: User = Depends(current)
) -> Response:
    """The records of all batches."""
    asked = listing(request, pipeline)
    return page(request, "records.html", **_list(workspace, asked), **_filters(workspace, asked))


@router.get("/p/{pipeline}/cases/{case_id}")
def of_case(
    request: Request,
    pipeline: str,
    case_id: str,
    batch: str,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """A case of a batch with its records, which can be decided at once."""
    queue = workspace.store.queue
    case = next((one for one in queue.cases(pipeline, batch) if one.case_id == case_id), None)
    if case is None:
        words = f"Batch {batch} of {pipeline} has no case {case_id}, or none whose records are shown."
        raise HTTPException(404, " ".join(filter(None, [words, out_of_queue(workspace, [batch])])))
    asked = Listing(pipeline, Wanted(batch=batch, case_id=case_id), listing(request, pipeline).page, case=True)
    last = queue.last_entry(pipeline, asked.wanted)
    return page(request, "case.html", case=case, seen=last, **_list(workspace, asked))


def _list(workspace: Workspace, asked: Listing) -> dict[str, Any]:
    """One page of a list, as `record_list` of `desk_parts.html` shows it."""
    queue, name = workspace.store.queue, asked.pipeline
    found: list[QueuedRecord] = queue.records(name, asked.wanted, most=PER_PAGE, skip=asked.skip)
    last = len(found) < PER_PAGE and (found or asked.page == 1)  # then it is known how many there are
    total = asked.skip + len(found) if last else queue.count(name, asked.wanted)
    return {
        "listing": asked,
        "total": total,
        "cards": [card_of(one, asked.record_href(one.record_id, one.batch)) for one in found],
        "pages": max(1, -(-total // PER_PAGE)),
    }


def _drawn(workspace: Workspace, asked: Listing) -> dict[str, Any] | None:
    """The batch's unflagged records that were drawn, on the first page of its flagged ones: else nobody looks."""
    if asked.filtered or asked.page > 1:
        return None
    return _list(workspace, Listing(asked.pipeline, Wanted(batch=asked.wanted.batch, kind="drawn")))


def _filters(workspace: Workspace, asked: Listing) -> dict[str, Any]:
    """What a list can be limited to: columns of reasons and values of the context, with their counts in its batch."""
    if asked.wanted.batch is None:
        versions = sorted({one.version for one in workspace.store.queue.batches(asked.pipeline)}, reverse=True)
        return {"columns": {}, "contexts": {}, "versions": versions}
    marks = workspace.store.queue.marks(asked.pipeline, asked.wanted.batch, kind=asked.wanted.kind)
    columns = marks.pop("", {})
    contexts = {name: dict(list(values.items())[:MOST_VALUES]) for name, values in sorted(marks.items())}
    return {"columns": columns, "contexts": contexts, "versions": []}


def _near(batches: list[QueuedBatch], batch: str) -> tuple[str | None, str | None]:
    names = [one.batch for one in batches]
    place = names.index(batch) if batch in names else 0
    return (names[place - 1] if place else None, names[place + 1] if place + 1 < len(names) else None)
