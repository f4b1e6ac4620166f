"""The collector: all families, out of what its parts have read last."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.core import InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from flowguard import __version__
from flowguard.stages.metrics import delivered, registered, stored
from flowguard.stages.metrics.family import gauge
from flowguard.stages.metrics.part import Part
from flowguard.stages.workspace import Workspace, store_address

EVERY = {"store": 15.0, "registry": 60.0, "source": 300.0}
"""Seconds from the end of one reading to the next: a scrape asks nobody, however often it comes."""


class Metrics(Collector):
    """What is told of `pipelines`, files by name.

    `read` reads everything once; `keep` reads again and again in threads of its own, until `stop`. `collect` never
    waits and never fails: what cannot be read is said to be down, and what is not read yet is absent.
    """

    def __init__(self, pipelines: Mapping[str, Path]) -> None:
        self.pipelines = dict(pipelines)
        self.parts: tuple[Part[Any], ...] = (
            Part("store", EVERY["store"], stored.stored, stored.families, address=_store),
            Part("registry", EVERY["registry"], registered.registered, registered.families, address=_registry),
            Part(
                "source",
                EVERY["source"],
                delivered.delivered,
                delivered.families,
                well=lambda found: found.delivered is not None,
            ),
        )
        self._stop = threading.Event()

    def read(self) -> None:
        """Read every part once, now."""
        for part in self.parts:
            part.refresh(self.pipelines)

    def keep(self, *, patience: float = 5.0) -> None:
        """Keep reading; returns when each part was read once, at the latest after `patience` seconds."""
        for part in self.parts:
            thread = threading.Thread(
                target=part.keep, args=(self.pipelines, self._stop), name=f"metrics-{part.name}", daemon=True
            )
            thread.start()
        deadline = time.monotonic() + patience
        for part in self.parts:
            part.ready.wait(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()

    def collect(self) -> Iterator[Metric]:
        """All families, in one order."""
        yield InfoMetricFamily("flowguard_build", "The flowguard that tells this.", value={"version": __version__})
        yield gauge("pipeline_info", "The pipelines that are told of.", (([name], 1) for name in self.pipelines))
        for part in self.parts:
            yield from part.collect()
        read = [(part.name, part.last) for part in self.parts if part.last is not None]
        yield gauge(
            "reading_timestamp_seconds",
            "When a part (store, registry, source) was read last.",
            (([name], reading.at) for name, reading in read),
            by=("part",),
        )
        yield gauge(
            "reading_seconds",
            "How long reading a part of all pipelines took.",
            (([name], reading.seconds) for name, reading in read),
            by=("part",),
        )


def _store(workspace: Workspace) -> object:
    return store_address(workspace.runs, project=workspace.pipeline.root)


def _registry(workspace: Workspace) -> object:
    return workspace.registry.tracking_uri, workspace.registry.registry_uri
