"""What verdicts say of versions, worked out beside the pages: with 100,000 verdicts that takes seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock, Timer
from typing import cast

from fastapi import Request

from flowguard.errors import FlowguardError
from flowguard.review import Quality
from flowguard.stages.models import qualities
from flowguard.stages.verdicts import log_quality
from flowguard.stages.workspace import Workspace

LOG = logging.getLogger("flowguard.review")
#: Seconds after the last verdict before the registry is told: meanwhile the analyst decides on the next record.
QUIET = 5.0
#: Seconds for which the queue shows what is known: each verdict changes it, and working it out takes the pages' time.
RECENT = 10.0


@dataclass(frozen=True)
class Known:
    """What is known of versions by the verdicts up to the entry `newest`."""

    newest: int
    qualities: dict[int, Quality]
    at: float = field(default_factory=time.monotonic)


@dataclass
class Estimates:
    """The estimates of every pipeline of a desk, as of the newest verdict or of a little before."""

    quiet: float = QUIET
    _known: dict[str, Known] = field(default_factory=dict)
    _running: dict[str, Future[None]] = field(default_factory=dict)
    _untold: dict[str, tuple[Workspace, set[int]]] = field(default_factory=dict)
    _timers: dict[str, Timer] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    _worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "estimates"))

    def of(self, workspace: Workspace, *, recent: float = 0.0, wait: float = 0.1) -> tuple[Known | None, bool]:
        """What is known, None for nothing yet; and whether that is as of the newest verdict, else to be asked again.

        What was worked out less than `recent` seconds ago is not worked out anew.
        """
        name = workspace.pipeline.name
        newest = workspace.store.verdicts.newest(name)
        with self._lock:
            known = self._known.get(name)
            if known is not None and known.newest == newest:
                return known, True
            if known is not None and time.monotonic() - known.at < recent:
                return known, False
            task = self._running.get(name)
            if task is None or task.done():
                task = self._running[name] = self._worker.submit(self._work_out, workspace)
        with suppress(NotYet):
            task.result(timeout=wait)
        with self._lock:
            known = self._known.get(name)
        return known, known is not None and known.newest >= newest

    def changed(self, workspace: Workspace, versions: Iterable[int]) -> None:
        """There are new verdicts on the word of these versions: the registry is told when no more come for a while."""
        name = workspace.pipeline.name
        with self._lock:
            untold = self._untold.setdefault(name, (workspace, set()))
            untold[1].update(versions)
            if (timer := self._timers.get(name)) is not None:
                timer.cancel()
            timer = self._timers[name] = Timer(self.quiet, self._tell, (name,))
            timer.daemon = True
            timer.start()

    def finish(self) -> None:
        """Tell the registry what it was not told yet; called when the desk closes."""
        for timer in self._timers.values():
            timer.cancel()
        for name in list(self._untold):
            self._tell(name)
        self._worker.shutdown(wait=True)

    def _work_out(self, workspace: Workspace) -> None:
        name = workspace.pipeline.name
        # Looked up first: what comes in between is in the estimates already and is asked for once more.
        newest = workspace.store.verdicts.newest(name)
        found = qualities(workspace.store, name)
        with self._lock:
            self._known[name] = Known(newest, found)

    def _tell(self, name: str) -> None:
        with self._lock:
            workspace, versions = self._untold.pop(name, (None, set[int]()))
        if workspace is None:
            return
        try:
            self._work_out(workspace)
            known = self._known[name].qualities
            for version in sorted(versions & known.keys()):
                log_quality(workspace, known[version])
        except FlowguardError as error:
            LOG.warning("What verdicts say was not logged; they are stored: %s", error, extra={"pipeline": name})


def estimates_of(request: Request) -> Estimates:
    """The estimates of the desk that serves this request."""
    return cast(Estimates, request.app.state.estimates)
