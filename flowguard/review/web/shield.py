"""Against forged requests: changes that another site, or a page that is not the desk's, asks for in somebody's name."""

from __future__ import annotations

from typing import Any

from asgi_csrf import asgi_csrf
from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowguard.review.web.faults import fault
from flowguard.review.web.who import SAFE

_PASSED = "flowguard.passed"


class _Every:
    """All paths."""

    def __contains__(self, path: object) -> bool:
        return True


class SameOrigin:
    """Refuses changes that a browser says another site asks for.

    The token protects against other sites; this also against other ports of this machine, which share its cookies.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE:
            site = Headers(scope=scope).get("sec-fetch-site", "none")
            if site not in ("same-origin", "none"):
                await _forged(scope, send, None)
                return
        await self.app(scope, receive, send)


class Tokens:
    """Wants the token of `csrf()` with every request that changes something, by the library asgi-csrf.

    That reads cookies strictly, and browsers send along those of whatever else runs on this machine: it is shown its
    own alone. It also lets pass what has a bearer's authorization, which means nothing here. What it cannot read at
    all is refused like what has no token.
    """

    def __init__(self, app: ASGIApp, *, secret: str, name: str, https: bool) -> None:
        async def entered(scope: Scope, receive: Receive, send: Send) -> None:
            scope[_PASSED].append(True)
            await app(scope, receive, send)

        self.app, self.name = app, name
        self.checked: ASGIApp = asgi_csrf(
            entered,
            cookie_name=name,
            signing_secret=secret,
            always_protect=_Every(),
            cookie_secure=https,
            send_csrf_failed=_forged,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        passed: list[bool] = []
        known = HTTPConnection(scope).cookies.get(self.name, "")
        headers = [(key, value) for key, value in scope["headers"] if key not in (b"cookie", b"authorization")]
        cookies = [(b"cookie", f"{self.name}={known}".encode("latin-1"))] if _plain(known) else []
        try:
            await self.checked({**scope, "headers": headers + cookies, _PASSED: passed}, receive, send)
        except HTTPException:
            raise  # a body beyond the limit
        except Exception:
            if passed:
                raise
            await _forged(scope, send, None)


def _plain(cookie: str) -> bool:
    return bool(cookie) and cookie.isascii() and cookie.replace("-", "").replace("_", "").replace(".", "").isalnum()


async def _forged(scope: Scope, send: Send, reason: Any) -> None:
    words = (
        "The request was not sent by a page of this desk, or by one that is too old. Load the page again and repeat it."
    )
    await fault(Request(scope), 403, words)(scope, _nothing, send)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
