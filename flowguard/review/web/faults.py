"""What went wrong, in the desk's look: a page for a browser, a sentence in the live region for htmx."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from flowguard.errors import FlowguardError, InputError, OvertakenError, RegistryError, StoreError
from flowguard.review.web.bound import headers_of
from flowguard.review.web.page import by_htmx, page
from flowguard.review.web.who import SAFE, NotLoggedIn, current, desk_of

# Which answer an error of flowguard is; the first that fits.
_STATUS: tuple[tuple[type[FlowguardError], int], ...] = (
    (OvertakenError, 409),
    (StoreError, 503),
    (RegistryError, 404),
    (InputError, 400),
    (FlowguardError, 500),
)
_TITLES = {
    400: "That cannot be done",
    403: "Not allowed",
    404: "There is no such page",
    405: "Not like that",
    409: "Somebody was faster",
    413: "That is too much",
    422: "That cannot be read",
    429: "Please wait",
    500: "Something went wrong",
    503: "The store does not answer",
}
_WORDS = {
    404: "The address may be mistyped, or what it showed is gone.",
    405: "This address cannot be used that way.",
    500: "This is a fault of flowguard, not yours. What happened is in the log of the desk, where it was started.",
}


def fault(request: Request, status: int, words: str, *, headers: dict[str, str] | None = None) -> HTMLResponse:
    """The page of an error; for htmx its sentence alone, to be put into the live region, whatever was aimed at."""
    if by_htmx(request):
        aimed = {"HX-Retarget": "#said", "HX-Reswap": "innerHTML", "HX-Reselect": "unset", "HX-Push-Url": "false"}
        return page(request, "said.html", status=status, headers={**aimed, **(headers or {})}, words=words, fault=True)
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    return page(request, "fault.html", status=status, headers=headers, title=title, words=words)


def answer_faults(app: FastAPI) -> None:
    """Let the application answer its errors by `fault`, with nothing in them that a user should not see."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(FlowguardError, _told)
    app.add_exception_handler(NotLoggedIn, _log_in)
    app.add_exception_handler(Exception, _broken)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    _remember(request)
    said = str(error.detail)
    if said == HTTPStatus(error.status_code).phrase:  # what the framework says where nobody said anything
        said = _WORDS.get(error.status_code, said)
    return fault(request, error.status_code, said, headers=dict(error.headers or {}))


def _misread(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    _remember(request)
    found = {".".join(str(part) for part in one["loc"][1:]) or "the request": str(one["msg"]) for one in error.errors()}
    return fault(request, 422, "; ".join(f"{name}: {message}" for name, message in found.items()) + ".")


def _told(request: Request, error: Exception) -> Response:
    status = next(code for kind, code in _STATUS if isinstance(error, kind))
    return fault(request, status, str(error))


def _broken(request: Request, error: Exception) -> Response:
    # This answer is given outside of all middlewares, the one that sets these headers included.
    return fault(request, 500, _WORDS[500], headers=headers_of(https=desk_of(request).https))


def _log_in(request: Request, error: Exception) -> Response:
    """To the log-in page, and from there back to the page that was asked for, or that htmx asked from."""
    here = request.headers.get("hx-current-url") or str(request.url)
    parts = urlsplit(here)
    back = parts.path + (f"?{parts.query}" if parts.query else "")
    known = request.headers.get("hx-current-url") or request.method in SAFE
    target = f"/login?next={quote(back, safe='/')}" if known and back not in ("", "/") else "/login"
    if request.headers.get("hx-request") == "true":
        return Response(status_code=401, headers={"HX-Redirect": target})
    return RedirectResponse(target, status_code=303)


def _remember(request: Request) -> None:
    """Let the page of an error show who is logged in; one that comes before that is known has nobody."""
    try:
        current(request)
    except Exception:
        request.state.user = None
