"""Drift: how the data changed under a version since it was calibrated."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from flowguard.errors import FlowguardError
from flowguard.reports import drift_values, href
from flowguard.review.web.drawn import drawn
from flowguard.review.web.page import page
from flowguard.review.web.room import first_of, others_of
from flowguard.review.web.shelf import workspace_of
from flowguard.review.web.who import User, current
from flowguard.stages.drift import drift_report
from flowguard.stages.observe import remembered
from flowguard.stages.score import detector_of
from flowguard.stages.workspace import Workspace

router = APIRouter()

ROOM = "/drift"


@router.get(ROOM)
def room(request: Request) -> Response:
    """The drift of the first pipeline that has something to show."""
    return RedirectResponse(f"/p/{quote(first_of(request), safe='')}{ROOM}", status_code=303)


@router.get("/p/{pipeline}/drift")
def drift(
    request: Request,
    pipeline: str,
    version: int | None = None,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """The drift of one version, by default of the newest that has observed batches."""
    observed = workspace.store.drift.observed(pipeline)
    others = others_of(request, pipeline, ROOM)
    if version is not None and version not in observed:
        there = f"Those of {', '.join(map(str, observed))} were." if observed else "None was yet."
        raise HTTPException(404, f"No batch of {pipeline} was scored by version {version}. {there}")
    if not observed:
        return page(request, "drift_none.html", pipeline=pipeline, room=ROOM, others=others)
    wanted = max(observed) if version is None else version
    try:
        values = _values(workspace, wanted, observed[wanted])
    except FlowguardError as error:
        words = str(error)
        return page(
            request, "fault.html", status=503, room=ROOM, title="The version's model cannot be read", words=words
        )
    return page(
        request,
        "drift.html",
        layout="desk.html",
        room=ROOM,
        near=[(f"version {one}", f"?version={one}") for one in reversed(observed) if one != wanted][:6],
        others=others,
        version_href=f"versions/{wanted}",
        **values,
    )


def _values(workspace: Workspace, version: int, observed: tuple[int, object]) -> dict[str, Any]:
    """What the template shows of a version; made once as long as no batch is observed or queued anew."""
    name = workspace.pipeline.name
    queued = workspace.store.queue.queued(name)
    key = ("drift", str(workspace.runs), name, version, observed, hash(frozenset(queued)))

    def draw() -> dict[str, Any]:
        found = workspace.registry.resolve(name, version)
        records = tuple(record for _, record in remembered(workspace, version))
        report = drift_report(
            workspace,
            version,
            detector_of(workspace, found),
            records,
            run_href=f"../{quote(name, safe='')}",
            hrefs={record.batch: f"batches/{href(record.batch)}" for record in records if record.batch in queued},
        )
        return drift_values(report)

    return drawn(key, draw)
