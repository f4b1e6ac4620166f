"""Headers that bind the browser: to scripts and requests of this desk alone, in no other site's frame, in no cache."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowguard.review.web.who import PEER

# Scripts, styles and requests of this desk alone; `style` attributes, which bars and drawings have, but no <style>.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "style-src-attr 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def headers_of(*, https: bool) -> dict[str, str]:
    """What every answer has; browsers that came by https once come by nothing else for a year."""
    return {**_HEADERS, **({"Strict-Transport-Security": "max-age=31536000"} if https else {})}


class Bound:
    """Sets these headers, unless an answer sets its own; the first around all other middlewares."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self.headers = headers_of(https=https)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] == "http":
            # Whoever rewrites the client's address further in, this is where the connection came from.
            scope[PEER] = scope["client"][0] if scope.get("client") else None
        await self.app(scope, receive, bound)
