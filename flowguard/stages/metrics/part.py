"""One part of what metrics are made of: read of all pipelines now and then, and kept in between."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from prometheus_client.metrics_core import Metric

from flowguard.errors import FlowguardError
from flowguard.logs import scope
from flowguard.stages.metrics.family import gauge
from flowguard.stages.workspace import Workspace

LOG = logging.getLogger("flowguard.metrics")
T = TypeVar("T")


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What a part found of the pipelines that could be read, `up` for each whether it could; when, and how long."""

    found: Mapping[str, T]
    up: Mapping[str, bool]
    at: float
    seconds: float


@dataclass
class Part(Generic[T]):
    """A part, by `name`, that is read every so many seconds.

    `read` is asked once per pipeline; what it raises makes the pipeline down in this part, and is logged when it is
    news. Pipelines that share an `address` are down together: one that does not answer is asked once per reading.
    `well` says of what was read whether the part counts as up.
    """

    name: str
    every: float
    read: Callable[[Workspace], T]
    families: Callable[[Mapping[str, T]], Iterator[Metric]]
    address: Callable[[Workspace], object] | None = None
    well: Callable[[T], bool] = lambda _: True
    last: Reading[T] | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    _told: dict[str, str] = field(default_factory=dict)

    def refresh(self, pipelines: Mapping[str, Path]) -> None:
        """Read all pipelines; never raises."""
        begun, clock = time.time(), time.perf_counter()
        found: dict[str, T] = {}
        silent: dict[object, Exception] = {}
        for name, path in pipelines.items():
            with scope(pipeline=name):
                try:
                    found[name] = self._read(path, silent)
                    self._told.pop(name, None)
                except Exception as error:
                    self._tell(name, error)
        up = {name: name in found and self.well(found[name]) for name in pipelines}
        self.last = Reading(found, up, begun, time.perf_counter() - clock)
        self.ready.set()

    def keep(self, pipelines: Mapping[str, Path], stop: threading.Event) -> None:
        """Read again and again until `stop`."""
        while not stop.is_set():
            self.refresh(pipelines)
            stop.wait(self.every)

    def collect(self) -> Iterator[Metric]:
        """Its families, as they were read last; none before."""
        reading = self.last
        if reading is None:
            return
        words = f"1 where the {self.name} could be read, else 0."
        yield gauge(f"{self.name}_up", words, (([name], up) for name, up in reading.up.items()))
        yield from self.families(reading.found)

    def _read(self, path: Path, silent: dict[object, Exception]) -> T:
        workspace = Workspace.open(path)
        address = None if self.address is None else self.address(workspace)
        if address is None:
            return self.read(workspace)
        if address in silent:
            raise silent[address]
        try:
            return self.read(workspace)
        except FlowguardError as error:
            silent[address] = error
            raise

    def _tell(self, name: str, error: Exception) -> None:
        words = f"The {self.name} of {name} could not be read for its metrics: {error}"
        if self._told.get(name) != words:
            # What flowguard foresees is said in words; anything else is a mistake of its own.
            LOG.warning("%s", words, exc_info=None if isinstance(error, FlowguardError) else error)
            self._told[name] = words
