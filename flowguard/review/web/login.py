"""Logging in and out."""

from __future__ import annotations

import math
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from flowguard.review.web.page import page
from flowguard.review.web.who import NotLoggedIn, address_of, begin, current, desk_of, end
from flowguard.stages.users import recognised

router = APIRouter()

#: Log-ins at once: each takes a thread for as long as its password is hashed, and pages need some too.
AT_ONCE = 8


@router.get("/login")
def ask(request: Request, next: str = "/") -> Response:
    """The form; whoever is known already is led on."""
    try:
        current(request)
    except NotLoggedIn:
        return page(request, "login.html", next=within(next), name="", said="")
    return RedirectResponse(within(next), status_code=303)


@router.post("/login")
def log_in(
    request: Request,
    name: str = Form("", max_length=1000),
    password: str = Form("", max_length=10_000),
    next: str = Form("/", max_length=10_000),
) -> Response:
    """Begin a session, or say what is wrong; not whether it was the name or the password."""
    desk, throttle, address = desk_of(request), request.app.state.throttle, address_of(request)
    name, back = name.strip().replace("\0", "\ufffd"), within(next)  # PostgreSQL takes no zero byte
    if desk.mode != "password":
        return RedirectResponse(back, status_code=303)
    if not request.app.state.gate.acquire(blocking=False):
        said, headers = "Many are logging in at this moment. Try again in a few seconds.", {"Retry-After": "3"}
        return page(request, "login.html", status=429, headers=headers, next=back, name=name, said=said)
    try:
        wait = math.ceil(throttle.enter(name, address))
        account = None if wait else recognised(desk.store, name, password)
    finally:
        request.app.state.gate.release()
    if wait:
        time = f"{wait} seconds" if wait < 120 else f"{math.ceil(wait / 60)} minutes"
        said, headers = f"Too many wrong attempts. Wait {time}, then try again.", {"Retry-After": str(wait)}
        return page(request, "login.html", status=429, headers=headers, next=back, name=name, said=said)
    if account is None:
        said = "The name or the password is not right."
        return page(request, "login.html", status=401, next=back, name=name, said=said)
    throttle.passed(name, address)
    begin(request, account)
    return RedirectResponse(back, status_code=303)


@router.post("/logout")
def log_out(request: Request) -> Response:
    """End the session."""
    end(request)
    return RedirectResponse("/login", status_code=303)


def within(target: str) -> str:
    """`target` if it is a path of this desk, else its front page: a log-in must lead to no other site.

    >>> within("/queue?state=open"), within("//evil.example/"), within("/\\\\evil.example")
    ('/queue?state=open', '/', '/')
    """
    # Browsers drop tabs and line ends, and take a backslash for a slash.
    odd = "\\" in target or any(char <= " " or char == "\x7f" for char in target)
    if odd or not target.startswith("/") or target.startswith("//") or urlsplit(target).path in ("/login", "/logout"):
        return "/"
    return target
