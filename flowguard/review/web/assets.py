"""The files that pages load: scripts, styles, and the stylesheet that they share with the reports."""

from __future__ import annotations

import os
from urllib.parse import parse_qs

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from flowguard.reports import STYLESHEET
from flowguard.review.web.page import STATIC

_FOR_GOOD, _ASK = "public, max-age=31536000, immutable", "no-cache"


class Assets(StaticFiles):
    """`static/`, and of the reports' folder the stylesheet alone; what is asked for by its digest is kept for good."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        if path == STYLESHEET.name:
            return str(STYLESHEET), STYLESHEET.stat()
        return super().lookup_path(path)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        known = "v" in parse_qs(scope["query_string"].decode("latin-1"))
        response.headers["Cache-Control"] = _FOR_GOOD if known else _ASK
        return response
