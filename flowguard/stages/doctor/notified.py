"""The addresses of the setting `notify`: can each be sent to, and does its host answer. No message is sent."""

from __future__ import annotations

import socket
from pathlib import Path

from flowguard.notify import Address, read_addresses
from flowguard.settings import settings
from flowguard.stages.doctor.finding import Answer, Check, fail, ok

GROUP = "notifications"
SECONDS = 5.0


def notified_of(root: Path) -> list[Check]:
    """A check for each address of the setting `notify`."""
    given = settings(root)
    return [
        Check(GROUP, f"address {place}", lambda one=one: _address(one, given.origin("notify")))  # type: ignore[misc]
        for place, one in enumerate(read_addresses(given.notify), start=1)
    ]


def _address(one: Address, origin: str) -> Answer:
    correct = f"Correct it in {origin}, then: flowguard notify FILE --test."
    if one.service is None:
        return fail(
            f"{one.name} is no address that apprise knows",
            f"{correct} Forms: https://appriseit.com/services/",
        )
    where = one.reached_at
    if where is None:
        return ok(f"{one.name}; whether it answers is seen when a message is sent")
    try:
        with socket.create_connection(where, timeout=SECONDS):
            pass
    except OSError as error:
        return fail(
            f"{one.name}: nobody answers at {where[0]}:{where[1]} ({error.strerror or error or type(error).__name__})",
            f"Let this machine reach that host, or: {correct[0].lower()}{correct[1:]}",
        )
    return ok(f"{one.name} ({where[0]}:{where[1]} answers)")
