"""A page of the desk: a template with what every page shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from jinja2 import Environment
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from flowguard.explain.words import expected, visible
from flowguard.reports import STYLESHEET, environment
from flowguard.reports.card import kept
from flowguard.review.web.flash import flashed
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
    field `csrftoken`, which is the macro `token(csrf)` of `form.html`; posts of htmx take it from `<body>`. `flash` is
    what the page before left to be said.
    """
    known = {
        "user": getattr(request.state, "user", None),
        "desk": desk_of(request),
        "nav": request.app.state.nav,
        "here": request.url.path,
        "htmx": by_htmx(request),
        "csrf": request.scope.get(TOKEN, str),
        "flash": None if by_htmx(request) else flashed(request),
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
    made.filters.update(urlencode=_segment, visible=visible, pinned=kept, odds=odds, decided=decided, expected=expected)
    return made


def decided(decision: str | None) -> str:
    """A decision as people say it.

    >>> decided("false_alarm"), decided(None)
    ('false alarm', 'undecided')
    """
    return (decision or "undecided").replace("_", " ")


def odds(p_value: float) -> str:
    """A p-value as people weigh it.

    >>> odds(0.00016), odds(0.22), odds(1.0)
    ('1 in 6,250', '22 in 100', '100 in 100')
    """
    if p_value >= 0.095:
        return f"{round(100 * p_value)} in 100"
    return f"1 in {round(1 / p_value, -max(0, int(math.log10(1 / p_value)) - 2)):,.0f}" if p_value > 0 else "none"


def _segment(text: object) -> str:
    """Text as a part of a path or a query; a slash in the name of a batch stays one."""
    return quote(str(text))


@cache
def static_url(name: str) -> str:
    """The address of a file of `static/`, which changes with its content: browsers may keep it for good."""
    path = STYLESHEET if name == STYLESHEET.name else STATIC / name
    return f"/static/{name}?v={sha256(path.read_bytes()).hexdigest()[:12]}"


def rooms(routers: Sequence[APIRouter]) -> tuple[tuple[str, str], ...]:
    """The part of `NAV` that these routers have pages for."""
    served = {getattr(route, "path", "") for router in routers for route in router.routes}
    return tuple((name, path) for name, path in NAV if path in served)
