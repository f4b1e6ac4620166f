"""How long work reports on itself: stages speak to whatever listener the door has set, or to nobody."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

LOG = logging.getLogger("flowguard.progress")


class Progress(Protocol):
    """What a door offers to a stage: a bar with a title, and lines worth reading."""

    def start(self, title: str, total: float | None) -> None:
        """A piece of work begins; `total` is None when its size is unknown."""

    def advance(self, amount: float, note: str | None = None) -> None:
        """So much more of the work is done."""

    def finish(self) -> None:
        """The piece of work ended."""

    def say(self, line: str) -> None:
        """One line for the reader."""


class Silence:
    """The listener of a library call: none."""

    def start(self, title: str, total: float | None) -> None:
        pass

    def advance(self, amount: float, note: str | None = None) -> None:
        pass

    def finish(self) -> None:
        pass

    def say(self, line: str) -> None:
        pass


_SILENCE = Silence()
_listener: ContextVar[Progress] = ContextVar("flowguard_progress")


@contextmanager
def listening(listener: Progress) -> Iterator[None]:
    """Everything that stages report inside the block goes to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def work(title: str, total: float | None = None) -> Iterator[Progress]:
    """One piece of long work: `with work("scoring", total=rows) as bar: bar.advance(n)`."""
    listener = _listener.get(_SILENCE)
    begun, outcome = time.perf_counter(), "stopped"
    LOG.info("%s ...", title)
    listener.start(title, total)
    try:
        yield listener
        outcome = "done"
    finally:
        listener.finish()
        LOG.info("%s: %s", title, outcome, extra={"seconds": round(time.perf_counter() - begun, 3)})


def say(line: str) -> None:
    """One line for the reader, and for the log."""
    LOG.info("%s", line)
    _listener.get(_SILENCE).say(line)
