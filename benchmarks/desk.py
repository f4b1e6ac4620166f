"""The desk: how long its pages take with many flagged records in the store, on SQLite and on PostgreSQL.

    python benchmarks/desk.py
    python benchmarks/desk.py --records 20000 --rounds 10

About six minutes of two cores. A store is filled with flagged records (20 columns, three reasons, 12 cases a batch,
five unflagged ones drawn a batch, a fifth decided); `flowguard review` serves it as a process of its own, and a client
on the same machine asks for every kind of page in turn, each time for another batch, record, filter or page number.
Milliseconds are until the last byte; what a browser does with it is not in them. PostgreSQL from Debian's packages is
started for the run where it is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from desk_store import CHANNELS, COLUMNS, COUNTRIES, PIPELINE, fill, postgresql
from detection_progress import steps
from rich.console import Console
from rich.table import Table

from flowguard.store import QueuedRecord, Store, Wanted

GOAL = 200.0  # milliseconds in which 95 % of pages are to be there

Ask = Callable[[np.random.Generator], tuple[str, dict[str, str] | None]]


def main() -> None:
    """Fill, serve, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=40, help="times that each kind of page is asked for")
    options = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {}
    memory: dict[str, float] = {}
    console = Console(width=150)
    with steps(console, 2) as step, postgresql() as url:
        for name, address in (("SQLite", None), ("PostgreSQL", url)):
            if name == "SQLite" or address is not None:
                step(name)
                results[name], memory[name] = measured(address, options)
    table = Table(
        title=f"Milliseconds a page of {options.records:,} flagged records in {options.batches:,} batches "
        f"({options.rounds} times each)",
        title_justify="left",
        box=None,
    )
    table.add_column("page")
    for name in results:
        for what in ("median", "95 %", "max"):
            table.add_column(f"{name} {what}", justify="right")
    kinds = list(next(iter(results.values())))
    for kind in [*kinds, "all"]:
        row = [kind]
        for times in results.values():
            mine = np.concatenate([times[one] for one in kinds]) if kind == "all" else np.array(times[kind])
            row += [f"{value:.0f}" for value in (np.median(mine), np.quantile(mine, 0.95), mine.max())]
        table.add_row(*row)
    console.print(table)
    for name, times in results.items():
        every = np.concatenate([times[kind] for kind in kinds])
        console.print(
            f"{name}: {100 * (every <= GOAL).mean():.1f} % of pages within {GOAL:.0f} ms (95 % wanted); "
            f"the server's memory at most {memory[name]:,.0f} MB."
        )
    if "PostgreSQL" not in results:
        console.print("PostgreSQL is not installed on this machine: apt-get install postgresql.")


def measured(address: str | None, options: argparse.Namespace) -> tuple[dict[str, list[float]], float]:
    """Milliseconds by kind of page, and the largest memory of the server in MB."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(prefix="flowguard-desk-") as name:
        project = Path(name)
        (project / "pipelines").mkdir()
        (project / "pipelines" / "orders.yaml").write_text(PIPELINE, encoding="utf-8")
        address = address or f"sqlite:///{project}/flowguard.db"
        store = Store.open(address)
        fill(store, records=options.records, batches=options.batches, verdicts=options.records // 5)
        some = [
            *store.queue.records("orders", Wanted(), most=500),
            *store.queue.records("orders", Wanted(order="newest"), most=500),
        ]
        with served(project, address) as (url, process), httpx.Client(base_url=url, timeout=60) as client:
            kinds = questions(store, some)
            token = re.search(r'"x-csrftoken": "([^"]+)"', client.get("/queue").text)
            assert token is not None
            times: dict[str, list[float]] = {kind: [] for kind in kinds}
            for _ in range(options.rounds):
                for kind, ask in kinds.items():
                    path, form = ask(rng)
                    started = time.perf_counter()
                    if form is None:
                        answer = client.get(path)
                    else:
                        headers = {"HX-Request": "true", "x-csrftoken": token[1], "Origin": url}
                        answer = client.post(path, data=form, headers=headers)
                    times[kind].append(1000 * (time.perf_counter() - started))
                    assert answer.status_code == 200, (path, answer.status_code, answer.text[:2000])
            status = Path(f"/proc/{process.pid}/status").read_text()
            highest = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
    return times, highest


def questions(store: Store, some: list[QueuedRecord]) -> dict[str, Ask]:
    """One question a kind of page; each call asks for something else."""
    batches = [one.batch for one in store.queue.batches("orders")]
    todo = iter(store.queue.records("orders", Wanted(state="open", order="key"), most=5000))

    def of(rng: np.random.Generator) -> QueuedRecord:
        return some[rng.integers(len(some))]

    def decide(rng: np.random.Generator) -> tuple[str, dict[str, str] | None]:
        one = next(todo)
        return f"/p/orders/records/{one.record_id}/decide", {"batch": one.batch, "decision": "false_alarm", "seen": ""}

    return {
        "queue": lambda rng: ("/queue", None),
        "queue, all batches": lambda rng: ("/p/orders?all=true", None),
        "batch": lambda rng: (f"/p/orders/batches/{rng.choice(batches)}", None),
        "batch, filtered": lambda rng: (
            f"/p/orders/batches/{rng.choice(batches)}?state=open&column={rng.choice(COLUMNS)}"
            f"&in.channel={rng.choice(CHANNELS)}",
            None,
        ),
        "all undecided": lambda rng: (f"/p/orders/records?state=open&page={rng.integers(1, 100)}", None),
        "all, by column": lambda rng: (f"/p/orders/records?column={rng.choice(COLUMNS)}", None),
        "all, by column and country": lambda rng: (
            f"/p/orders/records?column={rng.choice(COLUMNS)}&in.country={rng.choice(COUNTRIES)}",
            None,
        ),
        "all, searched": lambda rng: (f"/p/orders/records?q={of(rng).search[-7:]}", None),
        "drawn at random": lambda rng: (f"/p/orders/records?kind=drawn&state=open&page={rng.integers(1, 20)}", None),
        "case": lambda rng: (f"/p/orders/cases/{rng.integers(12):08x}?batch={rng.choice(batches)}", None),
        "record": lambda rng: (lambda one: (f"/p/orders/records/{one.record_id}?batch={one.batch}", None))(of(rng)),
        "record, in the list of all": lambda rng: (
            lambda one: (f"/p/orders/records/{one.record_id}?batch={one.batch}&state=open&all=1", None)
        )(of(rng)),
        "a verdict": decide,
        "estimates": lambda rng: ("/p/orders/estimates", None),
    }


@contextmanager
def served(project: Path, address: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`flowguard review` on a free port."""
    command = [shutil.which("flowguard") or "flowguard", "review", "--port", "0", "--no-browser", "--json"]
    beside = Path(sys.executable).with_name("flowguard")
    if beside.exists():
        command[0] = str(beside)
    environment = {**os.environ, "FLOWGUARD_STORE": address}
    process = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        found = re.search(r'"url": "([^"]+?)/?"', line)
        assert found is not None, line
        yield found[1], process
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    main()
