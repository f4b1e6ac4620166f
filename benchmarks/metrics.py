"""Metrics: how long `flowguard metrics` reads a store with many flagged records, and how long a scrape takes.

    python benchmarks/metrics.py

About three minutes. A store is filled as for benchmarks/desk.py (flagged records in 200 batches, a fifth decided), on
SQLite and, where it is installed, on a PostgreSQL started for the run. The store is read 20 times; then the page is
served and scraped 200 times by a client on the same machine, gzip and all, as Prometheus does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
from desk_store import PIPELINE, fill, postgresql
from rich.console import Console

from flowguard.stages.metrics import Metrics, serve
from flowguard.stages.workspace import keep_connections, store_in

READINGS, SCRAPES = 20, 200


def main() -> None:
    """Fill, read, scrape, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--batches", type=int, default=200)
    options = parser.parse_args()
    console = Console(width=150)
    keep_connections()
    with postgresql() as url:
        for name, address in (("SQLite", None), ("PostgreSQL", url)):
            if name == "SQLite" or address is not None:
                readings, scrapes = measured(address, options.records, options.batches)
                console.print(
                    f"{name}, {options.records:,} queued records: the store is read in {np.median(readings):.0f} ms "
                    f"(median of {READINGS}; {max(readings):.0f} at most), a scrape takes {np.median(scrapes):.1f} ms "
                    f"({max(scrapes):.1f} at most of {SCRAPES})."
                )
        if url is None:
            console.print("PostgreSQL is not installed on this machine: apt-get install postgresql.")


def measured(address: str | None, records: int, batches: int) -> tuple[list[float], list[float]]:
    """Milliseconds of every reading, and of every scrape."""
    with tempfile.TemporaryDirectory(prefix="flowguard-metrics-") as name:
        project = Path(name)
        (project / "pipelines").mkdir()
        path = project / "pipelines" / "orders.yaml"
        path.write_text(PIPELINE, encoding="utf-8")
        if address is not None:
            (project / "flowguard.toml").write_text(f'store = "{address}"\n', encoding="utf-8")
        kept = store_in(project / "runs", project=project)
        fill(kept, records=records, batches=batches, verdicts=records // 5)
        metrics = Metrics({"orders": path})
        (store,) = (part for part in metrics.parts if part.name == "store")
        readings = [_milliseconds(lambda: store.refresh(metrics.pipelines)) for _ in range(READINGS)]
        assert store.last is not None
        assert store.last.up == {"orders": True}
        server, _ = serve(metrics, host="127.0.0.1", port=0)
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as client:
            scrapes = [_milliseconds(lambda: client.get("/metrics").raise_for_status()) for _ in range(SCRAPES)]
        server.shutdown()
        kept.database.engine.dispose()  # PostgreSQL ends when nobody is connected
    return readings, scrapes


def _milliseconds(done: Callable[[], object]) -> float:
    started = time.perf_counter()
    done()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
