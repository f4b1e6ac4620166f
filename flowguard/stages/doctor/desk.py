"""The desk: are its libraries there, does it answer where people are told to find it, and may somebody come in."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import httpx

from flowguard.settings import settings
from flowguard.stages.doctor.finding import Answer, Check, fail, ok, warn
from flowguard.stages.doctor.machine import missing
from flowguard.stages.workspace import Workspace, store_address
from flowguard.store import Store
from flowguard.store.health import health

GROUP = "desk"
SECONDS = 5.0


def desk_of(workspace: Workspace) -> list[Check]:
    """The checks of the desk."""
    url = settings(workspace.pipeline.root).desk_url
    checks = [Check(GROUP, "libraries", _libraries)]
    if url is None:
        return checks
    checks.append(Check(GROUP, "desk", lambda: _answers(url)))
    if not _here(url):
        checks.append(Check(GROUP, "users", lambda: _users(workspace)))
    return checks


def _libraries() -> Answer:
    absent = missing("review")
    if absent:
        return warn(f"the desk cannot be opened here: {', '.join(absent)} missing", "pip install 'flowguard[review]'")
    return ok("flowguard[review] is installed")


def _answers(url: str) -> Answer:
    try:
        response = httpx.get(url, timeout=SECONDS)
    except httpx.HTTPError as error:
        # A worker elsewhere, or in a container, need not reach what people do on their own machine.
        found = warn if _here(url) else fail
        return found(
            f"nothing answers at {url} ({error or type(error).__name__})",
            "Open it: flowguard review; or correct FLOWGUARD_DESK_URL.",
        )
    if response.status_code >= 500:
        return fail(f"{url} answers {response.status_code}", "See what the desk, or the proxy before it, logs.")
    return ok(f"{url} answers")


def _here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _users(workspace: Workspace) -> Answer:
    runs, root = workspace.runs, workspace.pipeline.root
    address = store_address(runs, project=root)
    add = f"flowguard users add NAME --role reviewer --runs {workspace.relative(runs)}"
    # A store with other tables would be upgraded by opening it.
    users = Store.open(address).users.all() if health(address).tables == "current" else []
    if not users:
        return fail("others than this machine reach the desk, and it knows no user", add)
    with_password = sum(bool(user.password) for user in users)
    return ok(f"{len(users)}, {with_password} of them with a password")
