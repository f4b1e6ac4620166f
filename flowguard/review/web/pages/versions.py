"""Versions: what is registered, what each is like, and who made which the champion."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Form, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from flowguard.errors import FlowguardError
from flowguard.registry import CHAMPION, Version
from flowguard.reports import VersionReport, flag_plots, href, version_plots, version_values
from flowguard.review.web.drawn import drawn
from flowguard.review.web.estimates import estimates_of
from flowguard.review.web.flash import flash
from flowguard.review.web.page import page
from flowguard.review.web.room import first_of, others_of
from flowguard.review.web.shelf import workspace_of
from flowguard.review.web.who import User, current, need
from flowguard.stages.models import promote
from flowguard.stages.score import detector_of
from flowguard.stages.version import alias_lines, summaries, version_report
from flowguard.stages.workspace import Workspace

router = APIRouter()

ROOM = "/versions"
ADMIN = need("admin")
#: Changes of aliases that are listed before one asks for all.
FEW = 50


@router.get(ROOM)
def room(request: Request) -> Response:
    """The versions of the first pipeline that has something to show."""
    return RedirectResponse(f"/p/{quote(first_of(request), safe='')}{ROOM}", status_code=303)


@router.get("/p/{pipeline}/versions")
def versions(
    request: Request,
    pipeline: str,
    all: bool = False,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """Every registered version, newest first, then who changed the aliases."""
    trouble, found = "", list[Version]()
    try:
        found = workspace.registry.versions(pipeline)
    except FlowguardError as error:
        trouble = str(error)
    flagged: dict[int, int] = {}
    for one in workspace.store.queue.batches(pipeline):
        flagged[one.version] = flagged.get(one.version, 0) + one.flagged
    known, fresh = estimates_of(request).of(workspace)
    changes = alias_lines(workspace.store.aliases.of(pipeline))
    return page(
        request,
        "versions.html",
        status=503 if trouble else 200,
        room=ROOM,
        others=others_of(request, pipeline, ROOM),
        pipeline=pipeline,
        root=f"/p/{quote(pipeline, safe='')}",
        versions=found,
        trouble=trouble,
        flagged=flagged,
        qualities={} if known is None else known.qualities,
        fresh=fresh,
        changes=changes if all else changes[-FEW:],
        more=0 if all else max(0, len(changes) - FEW),
    )


@router.get("/p/{pipeline}/versions/{version}")
def version(
    request: Request,
    pipeline: str,
    version: str,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """One version, by its number; an alias leads to the version that has it."""
    root = f"/p/{quote(pipeline, safe='')}"
    try:
        found = workspace.registry.versions(pipeline)
        one = next((each for each in found if version == str(each.version) or version in each.aliases), None)
        if one is None:
            there = f"There are {', '.join(str(each.version) for each in found[:20])}." if found else "There is none."
            raise HTTPException(404, f"{pipeline} has no version {version}. {there}")
        if version != str(one.version):
            return RedirectResponse(f"{root}{ROOM}/{one.version}", status_code=303)
        report = _report(workspace, one)
    except FlowguardError as error:
        return page(
            request,
            "fault.html",
            status=503,
            room=ROOM,
            title="The registry does not answer",
            words=str(error),
        )
    return page(
        request,
        "version.html",
        layout="desk.html",
        room=ROOM,
        near=_near(found, one),
        versions_href=f"{root}{ROOM}",
        promote_href="" if CHAMPION in one.aliases else f"{root}{ROOM}/{one.version}/promote",
        champion=next((each.version for each in found if CHAMPION in each.aliases), ""),
        **_values(report) | {"estimates_href": f"{root}{ROOM}/{one.version}/estimates"},
    )


@router.post("/p/{pipeline}/versions/{version}/promote")
def make_champion(
    request: Request,
    pipeline: str,
    version: int,
    why: str = Form(default="", max_length=1000),
    champion: str = Form(default=""),
    despite_gate: bool = Form(default=False),
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(ADMIN),
) -> Response:
    """Let a version score from the next batch on; an older one to roll back. `champion` is whom the page showed.

    `despite_gate`: the page showed that the gate failed, and `why` has the reason.
    """
    expected = int(champion) if champion.isascii() and champion.isdigit() and len(champion) < 10 else None
    done = promote(
        workspace.runs,
        pipeline,
        version,
        who=user.name,
        why=why.strip(),
        expected=expected,
        despite_gate=despite_gate,
    )
    flash(request, f"Version {done.champion.version} is the champion: it scores from the next batch on.")
    return RedirectResponse(f"/p/{quote(pipeline, safe='')}{ROOM}/{version}", status_code=303)


@router.get("/p/{pipeline}/versions/{version}/estimates")
def estimates(
    request: Request,
    pipeline: str,
    version: int,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """What verdicts say of one version, as a part of its page; asked again while it is being worked out."""
    known, fresh = estimates_of(request).of(workspace)
    return page(
        request,
        "estimates.html",
        known=known is not None,
        qualities=[one for one in known.qualities.values() if one.version == version] if known else [],
        fresh=fresh,
        href=f"/p/{quote(pipeline, safe='')}{ROOM}/{version}/estimates",
    )


def _report(workspace: Workspace, one: Version) -> VersionReport:
    """The version, with links that lead from its page to others of the desk."""
    store, name = workspace.store, workspace.pipeline.name
    queued = store.queue.queued(name)
    return version_report(
        workspace,
        detector_of(workspace, one),
        one,
        batches=summaries(workspace, one.version, {batch: f"../batches/{href(batch)}" for batch in queued}),
        changes=store.aliases.of(name),
        run_href=f"../../{quote(name, safe='')}",
        drift_href=f"../drift?version={one.version}" if one.version in store.drift.observed(name) else "",
        batches_href="../records?" + urlencode({"version": one.version}),
    )


def _values(report: VersionReport) -> dict[str, Any]:
    """What the template shows, with plots that are drawn once: of a version, and of the batches it has scored."""
    fixed = drawn(("version", report.digest), lambda: version_plots(report))
    batches = tuple((one.batch, one.flagged, one.scored, one.href) for one in report.batches)
    flags = drawn(("flags", report.digest, hash(batches)), lambda: flag_plots(report))
    return version_values(report, {**fixed, **flags})


def _near(versions: list[Version], one: Version) -> list[tuple[str, str]]:
    """The version before and the one after, by number, as links beside this page."""
    numbers = sorted(each.version for each in versions)
    place = numbers.index(one.version)
    before = [(f"← version {numbers[place - 1]}", str(numbers[place - 1]))] if place else []
    after = [(f"version {number} →", str(number)) for number in numbers[place + 1 : place + 2]]
    return before + after
