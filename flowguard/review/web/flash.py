"""A sentence for the next page, kept in the session until that is shown."""

from __future__ import annotations

from typing import Any

from fastapi import Request

_KEY = "said"
_LONGEST = 400  # a cookie holds 4 kB


def flash(request: Request, words: str, *, fault: bool = False) -> None:
    """Let the next page say it."""
    request.session[_KEY] = {"words": words[:_LONGEST], "fault": fault}


def flashed(request: Request) -> dict[str, Any] | None:
    """What is to be said on this page, once."""
    # What fails before there is a session has a page too.
    session = request.scope.get("session")
    found = session.pop(_KEY) if isinstance(session, dict) and _KEY in session else None
    return found if isinstance(found, dict) and isinstance(found.get("words"), str) else None
