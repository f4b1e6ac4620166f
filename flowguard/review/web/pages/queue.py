"""The queue: what waits for a decision."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from flowguard.review.web.page import page
from flowguard.review.web.who import User, current

router = APIRouter()


@router.get("/")
def front() -> Response:
    """The first thing that an analyst wants to see."""
    return RedirectResponse("/queue", status_code=303)


@router.get("/queue")
def queue(request: Request, user: User = Depends(current)) -> Response:
    """The pipelines of this desk."""
    return page(request, "queue.html")
