"""The desk as a web application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from threading import BoundedSemaphore

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from flowguard.review.web import login
from flowguard.review.web.assets import Assets
from flowguard.review.web.bound import Bound
from flowguard.review.web.desk import Desk
from flowguard.review.web.estimates import Estimates
from flowguard.review.web.faults import answer_faults
from flowguard.review.web.page import rooms
from flowguard.review.web.pages import ROUTERS
from flowguard.review.web.secret import derived, secret_of
from flowguard.review.web.shield import SameOrigin, Tokens
from flowguard.review.web.throttle import Throttle
from flowguard.review.web.who import MAX_AGE, Ended, guarded

_LONGEST_BODY = 1 << 20  # bytes; a note of the longest kind is 40 kB


def create_app(desk: Desk, routers: Sequence[APIRouter] = ROUTERS) -> FastAPI:
    """The desk with the pages of `routers`.

    Law: every page of a router asks who comes, and nobody below a reviewer changes anything, whether its author
    thought of it or not; only `/login`, `/logout` and `/static` are open.
    """
    secret = secret_of(desk.runs)
    # Browsers let no other site or port set a cookie of this prefix.
    cookies = f"{'__Host-' if desk.https else ''}flowguard-{desk.mark}"

    estimates = Estimates()

    @asynccontextmanager
    async def open_and_close(app: FastAPI) -> AsyncIterator[None]:
        yield
        estimates.finish()

    app = FastAPI(title="flowguard", docs_url=None, redoc_url=None, openapi_url=None, lifespan=open_and_close)
    app.state.estimates = estimates
    app.state.desk = desk
    app.state.marks = derived(secret, "marks")
    app.state.throttle = Throttle()
    app.state.gate = BoundedSemaphore(login.AT_ONCE)
    app.state.ended = Ended()
    app.include_router(login.router)
    for router in routers:
        app.include_router(router, dependencies=[Depends(guarded)])
    app.mount("/static", Assets())
    app.state.nav = rooms(routers)
    answer_faults(app)

    # The last one stands first.
    app.add_middleware(Tokens, secret=derived(secret, "tokens"), name=f"{cookies}-token", https=desk.https)
    app.add_middleware(SameOrigin)
    app.add_middleware(
        SessionMiddleware,
        secret_key=derived(secret, "sessions"),
        session_cookie=cookies,
        max_age=MAX_AGE,
        same_site="lax",  # strict would ask whoever follows a link from a mail to log in again
        https_only=desk.https,
    )
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=_LONGEST_BODY)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(desk.hosts), www_redirect=False)
    # Secrets in a page that also repeats what was asked could be guessed by its compressed size, if another site could
    # ask with this one's cookies; SameSite does not let it.
    app.add_middleware(GZipMiddleware)
    if desk.proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(desk.proxies))
    app.add_middleware(Bound, https=desk.https)
    return app
