"""Rooms of the desk that show one pipeline at a time: which comes first, and the way to the others."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request

from flowguard.review.web.who import desk_of


def first_of(request: Request) -> str:
    """The first pipeline that has batches in the queue; where none has, the first."""
    desk = desk_of(request)
    queue = desk.store.queue
    return next((name for name in desk.pipelines if queue.queued(name)), next(iter(desk.pipelines)))


def others_of(request: Request, pipeline: str, room: str) -> list[tuple[str, str]]:
    """Every pipeline of the desk with its address in `room`, "" for the one that is shown; none for a desk of one."""
    names = list(desk_of(request).pipelines)
    if len(names) == 1:
        return []
    return [(name, "" if name == pipeline else f"/p/{quote(name, safe='')}{room}") for name in names]
