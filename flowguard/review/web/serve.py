"""The desk on a port of this machine: where it may listen, and until when it does."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Callable, Sequence

import uvicorn

from flowguard import logs
from flowguard.errors import FlowguardError, InputError
from flowguard.review.web.app import create_app
from flowguard.review.web.desk import LOOPBACK, Desk
from flowguard.stages.workspace import keep_connections

PORT = 8765
_TRIED = 20
_GRACE = 5  # seconds for requests that are being answered when the desk closes
_NAME = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]", re.IGNORECASE)


def loopback(host: str) -> bool:
    """Whether nobody but this machine reaches `host`; raises `InputError` for one that is no address of a machine.

    >>> loopback("127.0.0.1"), loopback("::1"), loopback("0.0.0.0")
    (True, True, False)
    """
    return all(ipaddress.ip_address(address).is_loopback for _, address in _addresses(host))


def hosts_of(host: str, more: Sequence[str]) -> tuple[str, ...]:
    """The names by which browsers may call a desk at `host`, with `more` of them.

    Raises `InputError` for what is no host name, and where nothing tells how a desk at every address is called.
    """
    for name in more:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is no host name; expected one as it stands in the browser's address, without http:// and "
                "port: desk.example.org, *.example.org or 10.0.0.7."
            )
    own: tuple[str, ...] = LOOPBACK
    addresses = [ipaddress.ip_address(address) for _, address in _addresses(host)]
    if any(address.is_unspecified for address in addresses):
        if not more:
            raise InputError(
                f"At {host} the desk is reached at every address of this machine: say how browsers will call it, "
                "with --allowed-host desk.example.org. It answers to no other name, so that no web page can pass "
                "itself off as it."
            )
    else:
        own = (*own, f"[{host}]" if ":" in host else host)
    return tuple(dict.fromkeys((*own, *(name.lower() for name in more))))


def networks_of(proxies: Sequence[str]) -> tuple[str, ...]:
    """The addresses or networks of trusted proxies; raises `InputError` for what is neither."""
    found = []
    for proxy in proxies:
        try:
            network = ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            raise InputError(f"{proxy!r} is no address of a proxy; expected 10.0.0.2 or 10.0.0.0/24.") from None
        if network.prefixlen == 0:
            raise InputError(f"{proxy} is every machine there is; name the proxy's address.")
        # As networks are written: who believes in 10.0.0.7/24 and who takes it for a name must not differ.
        found.append(str(network.network_address) if network.num_addresses == 1 else str(network))
    return tuple(found)


def listening(host: str, port: int | None) -> socket.socket:
    """A socket that listens at `host`: on `port`, or on the first free one from 8765 on.

    Raises `InputError` when the port is taken or not for this user, or the host is not this machine's.
    """
    family, address = _addresses(host)[0]
    for number in [port] if port is not None else range(PORT, PORT + _TRIED):
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((address, number))
            made.listen(128)
        except OSError as error:
            made.close()
            if error.errno == errno.EADDRINUSE and port is None:
                continue
            raise InputError(_unbound(host, number, error)) from None
        return made
    raise InputError(f"The ports {PORT} to {PORT + _TRIED - 1} of {host} are all taken. Name a free one with --port.")


def url_of(desk: Desk, host: str, listener: socket.socket) -> str:
    """The address to type into a browser on this machine, or where the desk is published."""
    port = listener.getsockname()[1]
    named = [name for name in desk.hosts if name not in (*LOOPBACK, host) and not name.startswith("*")]
    if desk.https and named:
        return f"https://{named[0]}/"
    if ipaddress.ip_address(_addresses(host)[0][1]).is_unspecified:
        host = named[0] if named else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(desk: Desk, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until the process is interrupted; `ready` is called once the desk answers.

    What is being answered then has a few seconds to end. Raises `FlowguardError` when the server cannot start.
    """
    keep_connections()
    # The application looks at the proxy's headers itself, once it has seen whom the connection came from.
    config = uvicorn.Config(
        create_app(desk),
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="warning",
        log_config=None if logs.as_json() else uvicorn.config.LOGGING_CONFIG,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(config, ready)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return  # how the server passes on the interruption that it ended for
    finally:
        listener.close()
    if not server.started:
        raise FlowguardError("The desk could not be started; the lines above say why.")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.ready()


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(
            f"The host {host!r} cannot be found; expected 127.0.0.1, or an address of this machine."
        ) from None
    # IPv4 first: browsers and people mean it by localhost.
    plain = [(family, str(address[0]).partition("%")[0]) for family, _, _, _, address in found]
    return sorted(dict.fromkeys(plain), key=lambda one: one[0] != socket.AF_INET)


def _unbound(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is taken, perhaps by another desk. Name another, or leave --port out."
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}. Name one from 1024 on."
    return f"Nothing can listen at {host}, port {port} ({error.strerror}). Name an address of this machine."
