"""Rules: what is kept from the lists because somebody said that it is ordinary; made and revoked here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Form, Request
from starlette.datastructures import FormData, QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from flowguard.errors import InputError
from flowguard.reports.cells import cell
from flowguard.review import Scope
from flowguard.review.web.drafted import LONGEST_DAYS, WORDS, Draft, drafted, today
from flowguard.review.web.flash import flash
from flowguard.review.web.page import page
from flowguard.review.web.room import first_of, others_of
from flowguard.review.web.shelf import workspace_of
from flowguard.review.web.who import User, current, need
from flowguard.stages import rules as stage
from flowguard.stages.queued import Covered, apply_rules, covered, reasons_of, values_of
from flowguard.stages.workspace import Workspace
from flowguard.store import QueuedRecord

router = APIRouter()

ROOM = "/rules"
REVIEWER = need("reviewer")


@router.get(ROOM)
def room(request: Request) -> Response:
    """The rules of the first pipeline that has something to show."""
    return RedirectResponse(f"/p/{quote(first_of(request), safe='')}{ROOM}", status_code=303)


@router.get("/p/{pipeline}/rules")
def rules(
    request: Request, pipeline: str, workspace: Workspace = Depends(workspace_of), user: User = Depends(current)
) -> Response:
    """Every rule, the active ones first, each with what it keeps away of the queue."""
    found = stage.listed(workspace.pipeline.path)
    kept = workspace.store.queue.by_rule(pipeline)
    return page(
        request,
        "rules.html",
        room=ROOM,
        others=others_of(request, pipeline, ROOM),
        pipeline=pipeline,
        root=_root(pipeline),
        active=[one for one in found if one.state == "active"],
        ended=[one for one in found if one.state != "active"],
        kept={rule: sum(counts.values()) for rule, counts in kept.items()},
        confirmed={rule: counts.get("confirmed", 0) for rule, counts in kept.items()},
    )


@router.get("/p/{pipeline}/rules/new")
def new(
    request: Request,
    pipeline: str,
    record: str,
    batch: str,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(REVIEWER),
) -> Response:
    """The form of a rule, drafted from a record, with what the rule would have kept away."""
    one, draft = _drafted(workspace, record, batch)
    return _form(request, workspace, one, draft)


@router.get("/p/{pipeline}/rules/preview")
def preview(
    request: Request,
    pipeline: str,
    record: str,
    batch: str,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(REVIEWER),
) -> Response:
    """What a rule as the form says it would have kept away, as a part of the form's page."""
    one, draft = _drafted(workspace, record, batch, request.query_params)
    return page(request, "rule_preview.html", **_preview(workspace, one, draft))


async def _fields(request: Request) -> FormData:
    return await request.form()


@router.post("/p/{pipeline}/rules")
def make(
    request: Request,
    pipeline: str,
    record: str = Form(),
    batch: str = Form(),
    fields: FormData = Depends(_fields),
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(REVIEWER),
) -> Response:
    """Make the rule; the form again, with what is wrong, where it cannot be made, or to look at without scripts."""
    one, draft = _drafted(workspace, record, batch, fields)
    if "look" in fields:
        return _form(request, workspace, one, draft)
    try:
        made = stage.make(
            workspace.pipeline.path,
            draft.scope(one),
            why=draft.why,
            who=user.name,
            until=draft.ends(today()),
            batches=0,  # the form told of the queue
        )
    except InputError as error:
        return _form(request, workspace, one, draft, trouble=str(error))
    rule = made.rule
    apply_rules(workspace.pipeline.path, since=rule.made_at)
    flash(
        request,
        f"Rule {rule.id} counts for batches that are scored from now on, until {rule.expires_at:%Y-%m-%d}. What is in "
        "the queue already stays there to be decided on.",
    )
    return RedirectResponse(f"{_root(pipeline)}{ROOM}", status_code=303)


@router.post("/p/{pipeline}/rules/{number}/revoke")
def revoke(
    request: Request,
    pipeline: str,
    number: int,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(REVIEWER),
) -> Response:
    """End a rule now."""
    try:
        gone = stage.revoke(workspace.pipeline.path, number, who=user.name)
    except InputError as error:
        flash(request, str(error), fault=True)
    else:
        apply_rules(workspace.pipeline.path, since=gone.rule.revoked_at)
        flash(
            request,
            f"Rule {number} is revoked: from now on everything is shown that it kept away. What it kept away of "
            "batches that are scored already stays so, until they are scored again.",
        )
    return RedirectResponse(f"{_root(pipeline)}{ROOM}", status_code=303)


def _root(pipeline: str) -> str:
    return f"/p/{quote(pipeline, safe='')}"


def _drafted(
    workspace: Workspace, record: str, batch: str, fields: FormData | QueryParams | None = None
) -> tuple[QueuedRecord, Draft]:
    """The record that a rule is drafted from, and the draft, as the fields of the form say it."""
    name, queue = workspace.pipeline.name, workspace.store.queue
    one = next((each for each in queue.deliveries(name, record) if each.batch == batch and each.flagged), None)
    if one is None:
        raise HTTPException(404, f"Record {record} is not among the flagged ones of batch {batch} in the queue.")
    levels = [mark for mark in queue.marks(name, batch) if mark]
    draft = drafted(one, levels, today())
    return one, draft if fields is None else draft.filled(fields)


def _form(request: Request, workspace: Workspace, one: QueuedRecord, draft: Draft, *, trouble: str = "") -> Response:
    return page(
        request,
        "rule_new.html",
        status=400 if trouble else 200,
        room=ROOM,
        draft=draft,
        words=WORDS,
        trouble=trouble,
        first=today().isoformat(),
        last=(today() + timedelta(LONGEST_DAYS)).isoformat(),
        **_preview(workspace, one, draft),
    )


def _preview(workspace: Workspace, one: QueuedRecord, draft: Draft) -> dict[str, Any]:
    """What the rule would have kept away, and whether the record that it was drafted from is among that."""
    name = workspace.pipeline.name
    known: dict[str, Any] = {"one": one, "pipeline": name, "root": _root(name)}
    try:
        scope = draft.scope(one)
    except InputError as error:
        return {**known, "wrong": str(error), "seen": None}
    seen: Covered = covered(workspace, scope)
    most = workspace.pipeline.output.reasons
    mine = scope.covers(reasons_of(one), values_of(one), most=most)
    incomplete = not mine and scope.covers(reasons_of(one), values_of(one))
    return {
        **known,
        "wrong": "",
        "seen": seen,
        "scope": scope,
        "mine": mine,
        "incomplete": incomplete,
        "written": most,
        "like": _like(name, draft, scope),
    }


def _like(pipeline: str, draft: Draft, scope: Scope) -> str:
    """The list of undecided records with a reason of the rule's first column and the usual values that it names."""
    asked = {"state": "open", "column": scope.columns[0].column}
    asked |= {f"in.{value.column}": cell(value.shown) for value in draft.values if value.chosen and value.usual}
    return f"{_root(pipeline)}/records?{urlencode(asked)}"
