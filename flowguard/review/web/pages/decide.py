"""Decide: on a record, on the open records of a case, and take back."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Form, Request
from pydantic import BaseModel, field_validator
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from flowguard import review
from flowguard.errors import InputError, OvertakenError
from flowguard.review import Judged
from flowguard.review.web.estimates import estimates_of
from flowguard.review.web.flash import flash
from flowguard.review.web.login import within
from flowguard.review.web.page import by_htmx, decided, page
from flowguard.review.web.shelf import workspace_of
from flowguard.review.web.who import User, current
from flowguard.stages.pruned import out_of_queue
from flowguard.stages.workspace import Workspace
from flowguard.store import DECISIONS, Decision, QueuedRecord, Verdict, Wanted

router = APIRouter()


class Given(BaseModel):
    """What a form says. `seen` is the number of the last entry that its page showed, `next` where to go back to."""

    batch: str
    decision: str = ""
    note: str = ""
    seen: str = ""
    next: str = ""
    view: str = "list"

    @field_validator("batch")
    @classmethod
    def _storable(cls, batch: str) -> str:
        if "\0" in batch:
            raise ValueError("a batch's name holds no zero byte")
        return batch

    @property
    def verdict(self) -> Decision:
        """The decision; 400 for what is none."""
        if self.decision not in DECISIONS:
            raise HTTPException(400, f"The decision is {self.decision[:40]!r}; expected one of {', '.join(DECISIONS)}.")
        return self.decision

    @property
    def last(self) -> int | None:
        """The entry that was seen, None for none; 400 for what is no number."""
        if self.seen and not (self.seen.isascii() and self.seen.isdigit() and len(self.seen) < 19):
            raise HTTPException(400, f"seen is {self.seen[:40]!r}; expected the number of an entry.")
        return int(self.seen) if self.seen else None


@router.post("/p/{pipeline}/records/{record_id}/decide")
def decide(
    request: Request,
    pipeline: str,
    record_id: str,
    given: Annotated[Given, Form()],
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """Decide on a record, having seen the entry `seen`; whoever was faster is shown instead."""
    one = _record(workspace, record_id, given.batch)
    verdicts = workspace.store.verdicts
    try:
        entry = review.decide(
            verdicts, pipeline, _judged(one), given.verdict, who=user.name, note=given.note.strip(), seen=given.last
        )
    except OvertakenError:
        return _answer(request, workspace, one, given, _faster(workspace, [record_id]), fault=True)
    return _decided(request, workspace, one, given, f"{_named(one)}: {decided(entry.decision)}.")


@router.post("/p/{pipeline}/records/{record_id}/undo")
def undo(
    request: Request,
    pipeline: str,
    record_id: str,
    given: Annotated[Given, Form()],
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """Take back what was decided on a record: what stood before stands again."""
    one = _record(workspace, record_id, given.batch)
    try:
        entry = review.undo(workspace.store.verdicts, pipeline, record_id, who=user.name, seen=given.last)
    except OvertakenError:
        return _answer(request, workspace, one, given, _faster(workspace, [record_id]), fault=True)
    except InputError as error:
        return _answer(request, workspace, one, given, str(error), fault=True)
    return _decided(request, workspace, one, given, f"{_named(one)}: taken back, {decided(entry.decision)} now.")


@router.post("/p/{pipeline}/cases/{case_id}/decide")
def decide_case(
    request: Request,
    pipeline: str,
    case_id: str,
    given: Annotated[Given, Form()],
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """Decide on all records of a case that nobody decided on, or on none where somebody did in the meantime."""
    queue = workspace.store.queue
    records = list(queue.stream(pipeline, Wanted(batch=given.batch, case_id=case_id, state="open")))
    if not records:
        raise HTTPException(409, "Every record of this case has been decided on. Undo, or decide on single records.")
    last = given.last or 0
    known = {one.record_id: one.entry for one in records if one.entry is not None and one.entry <= last}
    try:
        entries = review.decide_case(
            workspace.store.verdicts,
            pipeline,
            [_judged(one) for one in records],
            given.verdict,
            case_id=case_id,
            who=user.name,
            note=given.note.strip(),
            seen=known,
        )
    except OvertakenError:
        raise HTTPException(409, _faster(workspace, [one.record_id for one in records], last)) from None
    said = f"{len(entries):,} {'record' if len(entries) == 1 else 'records'}: {decided(entries[0].decision)}."
    return _case_done(request, workspace, entries, case_id, given.batch, said)


@router.post("/p/{pipeline}/cases/{case_id}/undo")
def undo_case(
    request: Request,
    pipeline: str,
    case_id: str,
    given: Annotated[Given, Form()],
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """Take back what was decided with the case in this batch; what was decided on single records stays."""
    last = given.last or 0
    found = workspace.store.queue.stream(pipeline, Wanted(batch=given.batch, case_id=case_id))
    known = {one.record_id: one.entry for one in found if one.entry is not None and one.entry <= last}
    try:
        entries = review.undo_case(workspace.store.verdicts, pipeline, case_id, who=user.name, seen=known)
    except OvertakenError:
        raise HTTPException(409, _faster(workspace, list(known), last)) from None
    said = f"Taken back on {len(entries):,} {'record' if len(entries) == 1 else 'records'}."
    return _case_done(request, workspace, entries, case_id, given.batch, said)


def _case_done(
    request: Request, workspace: Workspace, entries: list[Verdict], case_id: str, batch: str, said: str
) -> Response:
    name = workspace.pipeline.name
    estimates_of(request).changed(workspace, {entry.version for entry in entries})
    flash(request, said)
    back = f"/p/{quote(name, safe='')}/cases/{quote(case_id, safe='')}?{urlencode({'batch': batch})}"
    return RedirectResponse(back, status_code=303)


def _decided(request: Request, workspace: Workspace, one: QueuedRecord, given: Given, said: str) -> Response:
    estimates_of(request).changed(workspace, {one.version})
    return _answer(request, workspace, one, given, said)


def _answer(
    request: Request,
    workspace: Workspace,
    one: QueuedRecord,
    given: Given,
    said: str,
    *,
    fault: bool = False,
) -> Response:
    """What the record's controls are now, for htmx; the page it came from for a browser without scripts."""
    if not by_htmx(request):
        flash(request, said, fault=fault)
        return RedirectResponse(within(given.next), status_code=303)
    now = _record(workspace, one.record_id, one.batch)
    entries = workspace.store.verdicts.history(workspace.pipeline.name, one.record_id)
    return page(
        request,
        "decided.html",
        record=now,
        pipeline=workspace.pipeline.name,
        entries=entries,
        words=said,
        fault=fault,
        back=within(given.next),
        view="record" if given.view == "record" else "list",
    )


def _record(workspace: Workspace, record_id: str, batch: str) -> QueuedRecord:
    found = workspace.store.queue.deliveries(workspace.pipeline.name, record_id)
    for one in found:
        if one.batch == batch:
            return one
    why = out_of_queue(workspace, [batch]) or "The batch was scored again. Load the page again."
    raise HTTPException(404, f"Record {record_id} of batch {batch} is not in the queue any more. {why}")


def _faster(workspace: Workspace, record_ids: list[str], seen: int = 0) -> str:
    """Who decided what on these records after the entry `seen`, as a page says it."""
    found = workspace.store.verdicts.latest(workspace.pipeline.name, record_ids).values()
    told = "; ".join(str(one) for one in sorted(found, key=lambda one: -one.id)[:3] if one.id > seen)
    return (
        f"{told or 'Somebody decided'}, after you loaded this page. Yours was not written. Look at it; if yours still "
        "stands, decide again."
    )


def _judged(one: QueuedRecord) -> Judged:
    return Judged(one.record_id, one.batch, one.version, one.score, one.p_value, one.flagged, one.audited)


def _named(one: QueuedRecord) -> str:
    return one.search or one.record_id
