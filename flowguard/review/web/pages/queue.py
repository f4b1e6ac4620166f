"""The queue: the batches of every pipeline, and what of each waits for a decision."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from flowguard.review.web.estimates import RECENT, estimates_of
from flowguard.review.web.listing import Listing
from flowguard.review.web.page import page
from flowguard.review.web.shelf import workspace_of
from flowguard.review.web.who import User, current, desk_of
from flowguard.stages.workspace import Workspace
from flowguard.store import QueuedBatch, Tally, Wanted

router = APIRouter()

PER_PAGE = 60


@dataclass(frozen=True)
class Line:
    """A batch in the queue."""

    batch: QueuedBatch
    tally: Tally
    cases: int
    drifted: bool
    href: str


@dataclass(frozen=True)
class Waiting:
    """What waits of one pipeline: its batches, newest first, and the strangest record that nobody decided on."""

    pipeline: str
    root: str
    lines: tuple[Line, ...]
    more: int
    total: Tally
    batches: int
    strangest: str | None


@router.get("/")
def front() -> Response:
    """The first thing that an analyst wants to see."""
    return RedirectResponse("/queue", status_code=303)


@router.get("/queue")
def queue(request: Request, all: bool = False, user: User = Depends(current)) -> Response:
    """Every pipeline of the desk with the batches that have undecided records, or with all batches."""
    desk = desk_of(request)
    shown = [_waiting(workspace_of(request, name), all=all, most=PER_PAGE) for name in desk.pipelines]
    return page(request, "queue.html", shown=shown, all=all, one=len(shown) == 1)


@router.get("/p/{pipeline}")
def of_pipeline(
    request: Request, all: bool = False, workspace: Workspace = Depends(workspace_of), user: User = Depends(current)
) -> Response:
    """The queue of one pipeline, every batch on one page."""
    shown = [_waiting(workspace, all=all, most=5000)]
    return page(request, "queue.html", shown=shown, all=all, one=True)


@router.get("/p/{pipeline}/estimates")
def estimates(
    request: Request, pipeline: str, workspace: Workspace = Depends(workspace_of), user: User = Depends(current)
) -> Response:
    """What verdicts say of each version, as a part of the queue's page; asked again while it is being worked out."""
    known, fresh = estimates_of(request).of(workspace, recent=RECENT)
    return page(
        request,
        "estimates.html",
        known=known is not None,
        qualities=[] if known is None else list(known.qualities.values()),
        fresh=fresh,
        href=f"/p/{quote(pipeline, safe='')}/estimates",
    )


def _waiting(workspace: Workspace, *, all: bool, most: int) -> Waiting:
    name, store = workspace.pipeline.name, workspace.store
    root = f"/p/{quote(name, safe='')}"
    tallies, cases = store.queue.tallies(name), store.queue.open_cases(name)
    drifted = set(store.drift.alarmed(name))
    batches = store.queue.batches(name)[::-1]
    none = Tally()
    lines = [
        Line(
            batch=one,
            tally=tallies.get(one.batch, none),
            cases=cases.get(one.batch, 0),
            drifted=(one.batch, one.version) in drifted,
            href=f"{root}/batches/{quote(one.batch)}",
        )
        for one in batches
        if all or tallies.get(one.batch, none).open
    ]
    names = ("open", "confirmed", "false_alarm", "unsure", "suppressed", "drawn", "drawn_open")
    total = Tally(**{field: sum(getattr(one, field) for one in tallies.values()) for field in names})
    first = store.queue.records(name, Wanted(state="open"), most=1)
    listed = Listing(name, Wanted(state="open"))
    return Waiting(
        pipeline=name,
        root=root,
        lines=tuple(lines[:most]),
        more=max(0, len(lines) - most),
        total=total,
        batches=len(batches),
        strangest=listed.record_href(first[0].record_id, first[0].batch) if first else None,
    )
