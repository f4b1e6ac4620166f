"""Receivers of messages on this machine, which speak the real protocols: HTTP, a proxy to Slack by TLS, SMTP."""

from __future__ import annotations

import datetime as dt
import email
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Webhook:
    """What came in, each as its path and its JSON; `status` is what it answers, and may be changed."""

    port: int = 0
    status: int = 200
    came: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def json_url(self) -> str:
        return f"json://127.0.0.1:{self.port}/hook/s3cr3t"

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [document for _, document in self.came]


def _handler(hook: Webhook, context: ssl.SSLContext | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if hook.status < 300:
                hook.came.append((self.path, json.loads(body)))
            self.send_response(hook.status)
            self.end_headers()
            self.wfile.write(b"ok")

        def do_CONNECT(self) -> None:
            """As a proxy that is itself whom it is to connect to."""
            assert context is not None
            assert self.path == "hooks.slack.com:443"
            self.send_response(200)
            self.end_headers()
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)  # type: ignore[assignment]
            self.close_connection = False

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


@contextmanager
def webhook(context: ssl.SSLContext | None = None) -> Iterator[Webhook]:
    """A server that takes JSON, as any webhook does."""
    hook = Webhook()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hook, context))
    hook.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def slack(folder: Path) -> Iterator[Webhook]:
    """hooks.slack.com behind a proxy (HTTPS_PROXY), with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.slack.com")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    both = key.private_bytes(pem, form, serialization.NoEncryption()) + certificate.public_bytes(pem)
    (folder / "slack.pem").write_bytes(both)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "slack.pem")
    with webhook(context) as hook:
        yield hook


@dataclass
class Mailbox:
    """The mails that came in."""

    port: int = 0
    came: list[EmailMessage] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?from=flowguard@example.org&to=team@example.org&mode=insecure"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        mail = email.message_from_bytes(content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.came.append(mail)
        return "250 OK"


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """A mail server."""
    box = Mailbox()
    with socket.socket() as free:  # the controller calls itself up by the port that it is given
        free.bind(("127.0.0.1", 0))
        box.port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
