"""Send: one message to one address, and whether it arrived."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

import apprise

from flowguard.notify.address import Address
from flowguard.notify.message import Message

_LOG = logging.getLogger("apprise")
_PARTS = re.compile(r"[/:@?&=,#]+")


@dataclass(frozen=True)
class Delivery:
    """What became of a message to one address; `trouble` is "" where it was taken, else what hindered it."""

    address: Address
    trouble: str = ""


def send(message: Message, address: Address) -> Delivery:
    """Send a message; never raises. Taken means that the service or the mail server accepted it."""
    if address.service is None:
        return Delivery(address, "no service is known by this address")
    rich = address.service.notify_format == apprise.NotifyFormat.HTML
    sender = apprise.Apprise(asset=address.service.asset)
    sender.add(address.service)
    with _heard() as heard:
        try:
            taken = sender.notify(
                title=message.title,
                body=message.html if rich else message.text,
                body_format=apprise.NotifyFormat.HTML if rich else apprise.NotifyFormat.TEXT,
                notify_type=apprise.NotifyType(message.mood),
            )
        except Exception as error:  # a plug-in's own fault; its words may hold the address
            return Delivery(address, f"{type(error).__name__} in the library that sends it")
    if taken:
        return Delivery(address)
    return Delivery(address, _scrubbed("; ".join(dict.fromkeys(heard)), address.service) or "it was not taken")


def _scrubbed(words: str, service: apprise.NotifyBase) -> str:
    """What apprise said, without what it keeps for itself of the address."""
    whole, public = (set(_PARTS.split(unquote(str(service.url(privacy=hidden))))) for hidden in (False, True))
    for secret in sorted(whole - public, key=len, reverse=True):
        words = words.replace(secret, "***")
    return words


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What apprise complains of meanwhile; it goes nowhere else."""
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(" ".join(record.getMessage().split())[:200].rstrip("."))

    ear, before, level = Ear(logging.WARNING), _LOG.propagate, _LOG.level
    _LOG.addHandler(ear)
    _LOG.propagate = False
    _LOG.setLevel(logging.WARNING)
    try:
        yield heard
    finally:
        _LOG.removeHandler(ear)
        _LOG.propagate = before
        _LOG.setLevel(level)
