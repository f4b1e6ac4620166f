"""A page of the desk: a template with what every page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from jinja2 import Environment
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from flowguard.reports import STYLESHEET, environment
from flowguard.review.web.who import desk_of

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"

NAV = (("Queue", "/queue"), ("Versions", "/versions"), ("Drift", "/drift"), ("Rules", "/rules"))
"""Rooms of the desk; one is shown when a page serves its path."""

TOKEN = "csrftoken"
"""The field of a form, and the key of a request's scope, with the token against forged requests."""


def page(
    request: Request, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """The template with `values`, and with what every page knows.

    That is `user` (None where nobody is known), `desk`, `nav`, `here` (the path), `htmx` (whether htmx asks, for a
    part of a page) and `csrf`, a function without arguments that gives the token: plain forms need it in a hidden
    field `csrftoken`, which is the macro `token(csrf)` of `form.html`; posts of htmx take it from `<body>`.
    """
    known = {
        "user": getattr(request.state, "user", None),
        "desk": desk_of(request),
        "nav": request.app.state.nav,
        "here": request.url.path,
        "htmx": by_htmx(request),
        "csrf": request.scope.get(TOKEN, str),
    }
    text = templates().get_template(template).render(**known, **values)
    return HTMLResponse(text, status_code=status, headers=dict(headers or {}))


def by_htmx(request: Request) -> bool:
    """Whether htmx asks for a part of a page; a page that it asks for to restore is a whole one."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-history-restore-request") != "true"


def file_of(request: Request, pipeline: str) -> Path:
    """The file of a pipeline of this desk; one that is not here is a page that is not there (404)."""
    known = desk_of(request).pipelines
    if pipeline not in known:
        raise HTTPException(404, f"This desk has no pipeline of the name {pipeline}; it has {', '.join(known)}.")
    return known[pipeline]


@cache
def templates() -> Environment:
    """The templates of the desk, then those of the reports, whose macros they use: `{% import "parts.html" %}`."""
    made = environment(FOLDER / "templates")
    made.globals["static"] = static_url
    return made


@cache
def static_url(name: str) -> str:
    """The address of a file of `static/`, which changes with its content: browsers may keep it for good."""
    path = STYLESHEET if name == STYLESHEET.name else STATIC / name
    return f"/static/{name}?v={sha256(path.read_bytes()).hexdigest()[:12]}"


def rooms(routers: Sequence[APIRouter]) -> tuple[tuple[str, str], ...]:
    """The part of `NAV` that these routers have pages for."""
    served = {getattr(route, "path", "") for router in routers for route in router.routes}
    return tuple((name, path) for name, path in NAV if path in served)
