"""Who asks: the user of a request, and what pages need of them."""

from __future__ import annotations

import getpass
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote_plus

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from flowguard.review.access import MAY, allows, fingerprint
from flowguard.review.web.desk import Desk
from flowguard.store import Account, Role
from flowguard.store.users import LONGEST_NAME

PEER = "flowguard.peer"
"""The key of a request's scope with the address that the connection came from, whatever its headers say."""

MAX_AGE = 12 * 60 * 60
"""Seconds that a log-in lasts."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class User:
    """Who asks, in which role."""

    name: str
    role: Role

    def may(self, needed: Role) -> bool:
        """Whether this user may do what `needed` may; for templates, to show no button that would be refused."""
        return allows(self.role, needed)


class NotLoggedIn(Exception):
    """Nobody is logged in, or not any more: no failure, it leads to the log-in page."""


@dataclass
class Ended:
    """Sessions that were logged out before they ended by age; kept in this process alone."""

    ids: dict[str, float] = field(default_factory=dict)

    def add(self, session: str) -> None:
        """A cookie that somebody copied before is worth nothing from now on."""
        now = time.time()
        self.ids = {one: until for one, until in self.ids.items() if until > now} | {session: now + MAX_AGE}


def desk_of(request: Request) -> Desk:
    """The desk that serves this request."""
    return cast(Desk, request.app.state.desk)


def current(request: Request) -> User:
    """The user of this request; a dependency of every page.

    Raises `NotLoggedIn` where a password must be given first, and 403 for whom the desk does not know.
    """
    known: User | None = getattr(request.state, "user", None)
    if known is None:
        known = request.state.user = _MODES[desk_of(request).mode](request)
    return known


def need(role: Role) -> Callable[..., User]:
    """A dependency that lets pass who may do what `role` may: `user: User = Depends(need("reviewer"))`."""

    def needed(user: User = Depends(current)) -> User:
        if not user.may(role):
            raise HTTPException(
                403,
                f"This takes the role of {role}, who may {MAY[role]}. {user.name} has the role {user.role}. "
                f"Somebody with access to the desk's machine can change that: `flowguard users add {user.name} "
                f"--role {role}`.",
            )
        return user

    return needed


def guarded(request: Request, user: User = Depends(current)) -> None:
    """What holds of every page, whether it says so or not: somebody is known, and a viewer changes nothing."""
    # PostgreSQL takes no zero byte, not even in a question.
    if "\0" in request.url.path or "\0" in unquote_plus(request.url.query):
        raise HTTPException(400, "The address holds a zero byte.")
    if request.method not in SAFE:
        need("reviewer")(user)


def begin(request: Request, account: Account) -> None:
    """Log the user in: what the session was before is forgotten."""
    session = request.session
    session.clear()
    session.update(
        name=account.name,
        mark=fingerprint(account.password, request.app.state.marks),
        at=int(time.time()),
        id=secrets.token_urlsafe(16),
    )


def end(request: Request) -> None:
    """Log out; the session's cookie is refused from now on."""
    known = request.session.get("id")
    if isinstance(known, str):
        request.app.state.ended.add(known)
    request.session.clear()


def address_of(request: Request) -> str:
    """Where the request came from; behind a trusted proxy, where that says."""
    return request.client.host if request.client else ""


def _open(request: Request) -> User:
    try:
        return User(getpass.getuser(), "admin")
    except (OSError, KeyError):
        return User("somebody", "admin")  # a machine without a name for its user, as in some containers


def _password(request: Request) -> User:
    session: dict[str, Any] = request.session
    name, mark, at, known = (session.get(key) for key in ("name", "mark", "at", "id"))
    if not (isinstance(name, str) and isinstance(mark, str) and isinstance(at, int)):
        raise NotLoggedIn
    if time.time() - at > MAX_AGE or known in request.app.state.ended.ids:
        raise NotLoggedIn
    account = desk_of(request).store.users.find(name)
    # The mark is of the password: a changed one, like a removed user, ends the sessions that began with it.
    if account is None or not hmac.compare_digest(fingerprint(account.password, request.app.state.marks), mark):
        raise NotLoggedIn
    return User(account.name, account.role)


def _proxy(request: Request) -> User:
    desk = desk_of(request)
    if not _within(request.scope.get(PEER), desk.proxies):
        raise HTTPException(403, "This desk is reached through its proxy, which says who you are; not directly.")
    given = request.headers.getlist(desk.header)
    # Headers come as Latin-1; proxies write names in UTF-8. Two of them would leave it open whose word counts.
    name = given[0].encode("latin-1").decode("utf-8", "replace").strip() if len(given) == 1 else ""
    if not name or not name.isprintable() or len(name) > LONGEST_NAME:
        raise HTTPException(
            403, f"The proxy did not say who you are: one header {desk.header} with your name was expected."
        )
    account = desk.store.users.find(name)
    role = desk.proxy_role if account is None else account.role
    if role is None:
        raise HTTPException(
            403,
            f"{name} is no user of this desk. Somebody with access to its machine can add you: "
            f"`flowguard users add {name} --role reviewer --no-password`.",
        )
    return User(name, role)


_MODES: dict[str, Callable[[Request], User]] = {"open": _open, "password": _password, "proxy": _proxy}


def _within(peer: object, networks: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(str(peer))
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
