"""Web servers of this machine: a port for one, whether it answers, what it answers."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from typing import Any


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(address: str) -> bool:
    """Whether a web server says yes at `address`."""
    try:
        with urllib.request.urlopen(address, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def asked(address: str, question: dict[str, Any] | None = None) -> Any:
    """What an HTTP API answers to a GET, or to a POST of `question`."""
    data = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(address, data=data, headers={"Content-Type": "application/json"})
    for attempt in range(10):
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            # A server on SQLite says so while another request holds its database: ask again.
            if error.code != 503 or attempt == 9:
                raise
            time.sleep(1)
    return None
