"""A sentence for the next page, kept in the session until that is shown."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fastapi import Request

_KEY = "said"
_LONGEST = 400  # a cookie holds 4 kB


def flash(request: Request, words: str, *, fault: bool = False) -> None:
    """Let the next page say it."""
    request.session[_KEY] = {"words": words[:_LONGEST], "fault": fault}


def flashed(request: Request) -> dict[str, Any] | None:
    """What is to be said on this page, once."""
    found = request.session.pop(_KEY, None)
    return found if isinstance(found, dict) and isinstance(found.get("words"), str) else None


def safe_path(text: str) -> str:
    """A path of this desk to go back to, whatever a form says; the front where it says another place."""
    parts = urlsplit(text)
    inside = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return text if inside and text.isprintable() and "\\" not in text else "/"
