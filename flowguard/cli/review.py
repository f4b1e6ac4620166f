"""Open the desk, a web page in which flagged records are worked through: reasons, verdicts, rules, versions."""

from __future__ import annotations

import getpass
import os
import sys
import threading
import webbrowser
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowguard.cli import output
from flowguard.errors import InputError

if TYPE_CHECKING:
    from flowguard.review.web.desk import Desk
    from flowguard.store import Store

EXAMPLE = "flowguard review pipelines/orders.yaml"
_EXTRA = ("argon2", "asgi_csrf", "fastapi", "itsdangerous", "python_multipart", "starlette", "uvicorn")


class Access(StrEnum):
    """How people come in."""

    open = "open"
    password = "password"
    proxy = "proxy"


class Role(StrEnum):
    """What a user may do."""

    viewer = "viewer"
    reviewer = "reviewer"
    admin = "admin"


def command(
    files: list[Path] | None = typer.Argument(
        None, metavar="FILE", help="Pipeline files; by default all in pipelines/.", show_default=False
    ),
    host: str = typer.Option("127.0.0.1", help="Listen at this address; others than this machine's own need users."),
    port: int | None = typer.Option(
        None, min=0, max=65535, help="By default 8765, or the next free one.", show_default=False
    ),
    access: Access | None = typer.Option(
        None,
        help="open: whoever reaches it on this machine works as you; password: `flowguard users`; proxy: as a proxy "
        "says. By default password where there are users, else open.",
        show_default=False,
    ),
    proxy_header: str | None = typer.Option(
        None,
        help="With --access proxy: the header with the user's name, by default X-Forwarded-User.",
        show_default=False,
    ),
    proxy_role: Role | None = typer.Option(
        None, help="With --access proxy: the role of whom `flowguard users` does not know; by default none gets in."
    ),
    trusted_proxy: list[str] | None = typer.Option(
        None, metavar="ADDRESS", help="A proxy whose headers are believed; may be given several times."
    ),
    allowed_host: list[str] | None = typer.Option(
        None, metavar="NAME", help="A name by which browsers call the desk; may be given several times."
    ),
    https: bool = typer.Option(False, "--https", help="A proxy in front speaks https: cookies travel by it alone."),
    browser: bool | None = typer.Option(
        None, "--browser/--no-browser", help="Open a browser; by default on a terminal.", show_default=False
    ),
    as_json: bool = output.JSON,
) -> None:
    try:
        from flowguard.review.web import serve
        from flowguard.review.web.desk import Desk, find
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise InputError(
            f"The desk needs {error.name}, which is not installed. Run `pip install 'flowguard[review]'`."
        ) from None
    from flowguard.stages.workspace import store_in

    pipelines, root, runs = find(files or [], Path.cwd())
    published = [f"--{name}" for name, given in (("allowed-host", allowed_host), ("https", https)) if given]
    published += ["--trusted-proxy"] if trusted_proxy else []
    reached = f"At {host}" if not serve.loopback(host) else f"With {' and '.join(published)}" if published else ""
    mode = _mode(access, store_in(runs, project=root), runs, reached=reached)
    if mode != "proxy" and (proxy_header or proxy_role):
        raise InputError("--proxy-header and --proxy-role go with --access proxy.")
    proxies = serve.networks_of(trusted_proxy or [])
    if mode == "proxy" and not proxies:
        raise InputError(
            "Which proxy is to be believed? Name its address, --trusted-proxy 127.0.0.1 for one on this machine (whose "
            "other users could then pass themselves off as anybody)."
        )
    desk = Desk(
        pipelines=pipelines,
        root=root,
        runs=runs,
        mode=mode.value,
        hosts=serve.hosts_of(host, allowed_host or []),
        https=https,
        proxies=proxies,
        header=proxy_header or "X-Forwarded-User",
        proxy_role=None if proxy_role is None else proxy_role.value,
    )
    with output.reporting(as_json):
        missed = _queued(desk)
    listener = serve.listening(host, port)
    url = serve.url_of(desk, host, listener)

    def tell() -> None:
        output.say(f"The desk is open: {url}")
        output.say(f"Pipelines: {', '.join(pipelines)}.")
        for line in [*missed, *_who(desk, local=not reached)]:
            output.say(line)
        output.say("Ctrl-C closes it.")

    def ready() -> None:
        document = {"url": url, "access": mode.value, "pipelines": pipelines, "runs": runs}
        output.emit(document, as_json, tell)
        sys.stdout.flush()
        if browser or (browser is None and not as_json and sys.stdout.isatty() and _has_display()):
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    serve.serve(desk, listener, ready)
    if not as_json:
        output.say("The desk is closed.")


def _queued(desk: Desk) -> list[str]:
    """Put what was scored without the desk into its queue; sentences on what could not be, which stops nothing."""
    from flowguard.errors import FlowguardError
    from flowguard.stages.enqueue import enqueue

    said = []
    for name, file in desk.pipelines.items():
        try:
            enqueue(file)
        except FlowguardError as error:
            said.append(f"Batches of {name} that were scored are missing here: {error}")
    return said


def _mode(wanted: Access | None, store: Store, runs: Path, *, reached: str) -> Access:
    """How people come in, given who is known; raises `InputError` for a way that would let in anybody, or nobody.

    `reached` says by what others than this machine reach the desk; empty where they do not.
    """
    known = store.users.all()
    able = [account.name for account in known if account.password]
    add = f"`flowguard users add NAME --role reviewer --runs {os.path.relpath(runs)}`"
    if wanted is None and known and not able:
        raise InputError(
            "The users of this desk have no password, so that only a proxy can say who comes: pass --access proxy. Or "
            f"give them passwords: `flowguard users passwd {known[0].name}`."
        )
    mode = wanted or (Access.password if able else Access.open)
    if mode is Access.open and reached:
        raise InputError(
            f"{reached} others than this machine reach the desk, and nobody would be asked who they are. Add users "
            f"first ({add}), or let a proxy say who comes (--access proxy)."
        )
    if mode is Access.password and not able:
        raise InputError(f"No user has a password yet, so that nobody could log in. Add one first: {add}.")
    return mode


def _who(desk: Desk, *, local: bool) -> list[str]:
    if desk.mode == "open":
        return [
            f"You work as {_me()}, and so does whoever else uses this machine. Where that is more than you, add users: "
            "`flowguard users add NAME --role reviewer`."
        ]
    if desk.mode == "proxy":
        rest = "are refused" if desk.proxy_role is None else f"have the role {desk.proxy_role}"
        by = f"the header {desk.header} from {', '.join(desk.proxies)}"
        return [f"Who comes is in {by}; others than the users {rest}."]
    lines = ["Users log in with their passwords: `flowguard users` lists them."]
    if not local and not desk.https:
        lines.append(
            "Passwords travel unencrypted here: put a proxy in front that speaks https, and pass --https and "
            "--trusted-proxy."
        )
    return lines


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def _has_display() -> bool:
    """Whether a browser would be a window; a browser in the terminal would get in the way."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
