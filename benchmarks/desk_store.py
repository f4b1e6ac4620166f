"""A store with many flagged records, as a year of scoring leaves it, and a PostgreSQL server to keep one in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from flowguard.reports.page import ScoreHistogram
from flowguard.reports.plots import score_plot
from flowguard.stages.enqueue import PLOTS
from flowguard.store import QueuedBatch, QueuedCase, QueuedRecord, ScoredBatch, Store, Verdict

PIPELINE = """\
name: orders
source: {path: data/*.parquet, batch: file, key: [order]}
columns:
  features: {amount: number, quantity: number}
  context: {country: category, channel: category}
"""
COLUMNS = tuple(f"column_{place:02d}" for place in range(20))
COUNTRIES = tuple(f"country {place}" for place in range(30))
CHANNELS = ("web", "shop", "phone", "partner")
SCORED = 50_000
DRAWN = 5
CASES = 12


def fill(store: Store, *, records: int, batches: int, verdicts: int, seed: int = 0) -> None:
    """Queue `records` flagged records in `batches`, of 20 columns and three reasons each; decide on some of them."""
    rng = np.random.default_rng(seed)
    each, start = records // batches, datetime(2026, 1, 1, 4, tzinfo=UTC)
    decided = 0
    for number in range(batches):
        name = f"{start + timedelta(days=number):%Y-%m-%d}"
        made = [_record(rng, name, number * 100_000 + place, flagged=place < each) for place in range(each + DRAWN)]
        cases = [QueuedCase(f"{case:08x}", _case(case)) for case in range(CASES)]
        store.queue.put(_batch(name, start + timedelta(days=number), each, rng), made, cases)
        store.batches.put(_scored(name, start + timedelta(days=number), each))
        todo = min(verdicts // batches, each)
        entries = [
            Verdict(
                "orders", name, one.record_id, 1, "confirmed" if place % 4 == 0 else "false_alarm", "", "ada",
                one.score, one.p_value, flagged=True,
            )
            for place, one in enumerate(made[:todo])
        ]  # fmt: skip
        store.verdicts.put_all(entries, seen={})
        decided += len(entries)


def _record(rng: np.random.Generator, batch: str, number: int, *, flagged: bool) -> QueuedRecord:
    values: dict[str, Any] = {name: round(float(value), 3) for name, value in zip(COLUMNS, rng.normal(100, 30, 20))}
    values |= {"country": str(rng.choice(COUNTRIES)), "channel": str(rng.choice(CHANNELS))}
    named = rng.choice(COLUMNS, 3, replace=False).tolist() if flagged else []
    p_value = float(rng.uniform(1e-6, 0.002)) if flagged else float(rng.uniform(0.01, 1))
    return QueuedRecord(
        batch=batch,
        record_id=f"{number:032x}",
        version=1,
        flagged=flagged,
        audited=not flagged,
        score=-float(np.log(p_value)),
        p_value=p_value,
        search=f"order-{number:09d}",
        case_id=f"{number % CASES:08x}" if flagged else None,
        marks=(*(("", name) for name in named), ("country", values["country"]), ("channel", values["channel"])),
        document={
            "key": {"order": f"order-{number:09d}"},
            "log_likelihood": -20.0,
            "extrapolated": False,
            "reasons": [
                _reason(f"{number:032x}", rank, name, values[name]) for rank, name in enumerate(named, start=1)
            ],
            "values": values,
        },
    )


def _reason(record_id: str, rank: int, column: str, value: float) -> dict[str, Any]:
    return {
        "record_id": record_id,
        "rank": rank,
        "column": column,
        "share": 12.0 / rank,
        "term": 14.0 / rank,
        "observed": value,
        "observed_text": f"{value:g}",
        "low": 95.0,
        "high": 105.0,
        "words": f"{column} {value:g}; 95 to 105 expected for country 7, web",
        "contrast": 11.0 / rank,
        "best": 100.0,
        "best_text": "100",
        "partner": None,
    }


def _case(place: int) -> dict[str, Any]:
    return {
        "what": f"{COLUMNS[place]} too high",
        "setting": "country 7 (80 % of them)",
        "weight": 100.0 - place,
        "columns": [COLUMNS[place]],
    }


def _batch(name: str, at: datetime, flagged: int, rng: np.random.Generator) -> QueuedBatch:
    edges = np.linspace(0, 14, 49)
    shape = np.exp(-np.linspace(0, 8, 48))
    return QueuedBatch(
        pipeline="orders",
        batch=name,
        version=1,
        bundle="b" * 64,
        fingerprint=f"{name}-f",
        read=SCORED + 10,
        scored=SCORED,
        flagged=flagged,
        quarantined=10,
        scored_at=at,
        document={
            "policy": "false alarm rate 1 %",
            "asked": 0.01,
            "threshold": 6.2,
            "histogram": {
                "edges": edges.tolist(),
                "batch": (shape / shape.sum() * rng.uniform(0.9, 1.1, 48)).tolist(),
                "reference": (shape / shape.sum()).tolist(),
                "batch_above": 3,
                "reference_above": 0,
                "highest": 22.0,
            },
            "plots": _plots(),
            "quarantine": {"amount is infinite": 10},
            "notices": [],
            "calibrated": "calibrated on records of 2025-10-01 to 2025-12-31",
            "cells": 1,
        },
    )


@cache
def _plots() -> dict[str, str]:
    """The same plot for every batch: what it shows takes no time to serve, its size does."""
    edges, shape = np.linspace(0, 14, 49), np.exp(-np.linspace(0, 8, 48))
    histogram = ScoreHistogram(edges, shape / shape.sum(), shape / shape.sum(), 3, 0, 22.0)
    return {name: score_plot(histogram, 6.2, width=w, height=h) for name, w, h in PLOTS}


def _scored(name: str, at: datetime, flagged: int) -> ScoredBatch:
    return ScoredBatch(
        "orders", name, 1, "b" * 64, f"{name}-f", SCORED + 10, SCORED, flagged, 10, {"false_alarm_rate": 0.01}, at
    )


@contextmanager
def postgresql() -> Iterator[str | None]:
    """The address of an empty database in a server of this run alone; None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        yield None
        return
    # PostgreSQL refuses to run as root.
    become = [] if os.geteuid() else ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    with tempfile.TemporaryDirectory(prefix="flowguard-postgres-") as name:
        folder = Path(name)
        if become:
            shutil.chown(folder, "postgres", "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data, binaries = folder / "data", found[-1].parent
        make = [*become, binaries / "initdb", "-D", data, "-U", "owner", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run(make, cwd=folder, check=True, capture_output=True)
        serve = [*become, binaries / "postgres", "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
        server = subprocess.Popen(serve, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"postgresql://owner@127.0.0.1:{port}/postgres"
            deadline = time.monotonic() + 60
            while True:
                try:
                    Store.open(url)
                    break
                except Exception:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            server.wait(30)
