"""A night of a team: the services of docker/compose.yaml, a pipeline with a run every minute, and deliveries."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq

from flowguard.stages.manifest import Manifest, latest
from flowguard.store import Store
from tests.conftest import PIPELINE, meters
from tests.e2e.compose import BIN, SECRETS, Site
from tests.e2e.process import Running, wait_until

SCHEDULED = PIPELINE + 'schedule: {cron: "* * * * *"}\n'
ROWS = 2000


@dataclass
class Night:
    """What a test does in the night, and what it asks of the site in the morning."""

    site: Site
    delivered: set[str] = field(default_factory=set)

    @property
    def outputs(self) -> Path:
        """What scoring writes."""
        return self.site.project / "runs" / "meters"

    @property
    def worker(self) -> Running:
        """The worker that is alive now."""
        return self.site.services["worker"]

    def begin(self) -> None:
        """Everything started, a champion and a challenger registered, the pipeline deployed."""
        (self.site.project / "data").mkdir()
        self.deliver(range(3))
        for service in ("postgres", "s3"):
            self.site.start(service)
        self.site.once("bucket")
        for service in ("mlflow", "prefect"):
            self.site.start(service)
        self.flowguard("train", "pipelines/meters.yaml")
        self.deliver([3])
        assert "version 2" in self.flowguard("recalibrate", "pipelines/meters.yaml")
        self.site.once("seed")
        # A start takes many seconds of a core: what looks for late batches has tests of its own.
        monitor = self.prefect("/deployments/name/monitor/meters")["id"]
        self.prefect(f"/deployments/{monitor}/pause_deployment", post=True)
        self.site.start("worker")
        self.site.start("review")

    def deliver(self, numbers: Iterable[int], *, seed: int | None = None) -> None:
        """Files, each under its final name at once, as a careful sender writes them."""
        for number in numbers:
            path = self.site.project / "data" / f"part{number}.parquet"
            pq.write_table(meters(ROWS, number if seed is None else seed), path.with_suffix(".part"))
            os.replace(path.with_suffix(".part"), path)
            self.delivered.add(path.stem)

    def scored(self) -> dict[str, Manifest]:
        """The manifest of every scored batch."""
        return latest(self.outputs)

    def wait_for(self, true: Callable[[], bool], what: str, seconds: float = 240) -> None:
        """Wait until `true()`; what the worker printed is told when it does not come."""
        wait_until(true, seconds, what, by=self.worker, every=0.2)

    def all_scored(self, seconds: float = 240) -> None:
        """Wait until there is nothing left to score and all of it stands in the queue."""
        queue = self.store().queue
        self.wait_for(
            lambda: set(self.scored()) == self.delivered, f"{len(self.delivered)} batches are scored", seconds
        )
        self.wait_for(lambda: set(queue.queued("meters")) == self.delivered, "the queue has them all", seconds)

    def hurry(self) -> None:
        """A run is due now, beside those of every minute."""
        found = self.prefect("/deployments/name/score/meters")["id"]
        self.prefect(f"/deployments/{found}/create_flow_run", state={"type": "SCHEDULED"})

    def under_way(self) -> None:
        """Wait until a run has scored some of what waits, and not yet all of it."""
        before = len(self.scored())
        self.hurry()
        self.wait_for(lambda: len(self.scored()) >= before + 3, "a run is under way")
        assert set(self.scored()) != self.delivered, "the run was faster than the test: deliver more"

    def store(self) -> Store:
        """The store, in PostgreSQL."""
        return Store.open(self.site.environment("worker")["FLOWGUARD_STORE"])

    def prefect(self, path: str, *, post: bool = False, **sent: Any) -> Any:
        """What Prefect's API answers; something sent is posted."""
        user, password = SECRETS["PREFECT_AUTH"].split(":")
        url = f"{self.site.url('prefect')}/api{path}"
        with httpx.Client(auth=(user, password), timeout=30) as client:
            answer = client.post(url, json=sent) if sent or post else client.get(url)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def flowguard(self, *words: str) -> str:
        """What a command of flowguard prints on the worker's machine."""
        return self.site.run([str(BIN / "flowguard"), *words], "worker")

    def megabytes(self, service: str) -> float:
        """The memory that a service's processes hold now."""
        pages = 0
        for member in self.site.services[service].family():
            with suppress(OSError):
                pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def files(self, service: str) -> int:
        """The files and connections that a service's processes hold open."""
        count = 0
        for member in self.site.services[service].family():
            with suppress(OSError):
                count += len(list(Path(f"/proc/{member}/fd").iterdir()))
        return count

    def database(self, name: str) -> float:
        """The size of a database in MB, after what is dead in it was cleared away."""
        with self.site.connected(name) as connection:
            connection.execute("VACUUM")
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert row is not None
            return float(row[0]) / 2**20
