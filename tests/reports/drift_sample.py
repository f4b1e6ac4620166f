"""Drift pages of flights whose delays begin to go missing, made by the real monitor."""

from __future__ import annotations

import datetime
from functools import cache

import numpy as np

from flowguard.calibration.drift import DriftMonitor, DriftRecord, Records, seal
from flowguard.reports import DriftReport, href

START = datetime.date(2013, 4, 1)


def flights(random: np.random.Generator, *, missing: float = 0.02, shift: float = 0.0, n: int = 120) -> Records:
    """The flights of a day: delays that follow the temperature, airports, and three origins as groups."""
    temperature = random.normal(size=n) + 0.3 * random.normal()
    noise = random.normal(size=n) + 0.2 * random.normal() + shift
    delay = np.where(random.random(n) < missing, np.nan, noise - 0.5 * temperature)
    origin = random.choice(["EWR", "JFK", "LGA"], size=n, p=random.dirichlet([40, 30, 30]))
    carrier = random.choice(["AA", "DL", "UA"], size=n, p=[0.2, 0.3, 0.5])
    conditional = np.where(np.isnan(delay), np.nan, np.clip(0.5 + noise / 8, 0, 1))
    return Records(
        noise**2 / 2,
        {"dep_delay": delay, "carrier": carrier},
        {"temp": temperature, "origin": origin},
        {"dep_delay": conditional},
        origin,
    )


def _all(days: list[Records]) -> Records:
    def joined(part: str) -> dict[str, np.ndarray]:
        return {name: np.concatenate([getattr(day, part)[name] for day in days]) for name in getattr(days[0], part)}

    groups = np.concatenate([day.group for day in days if day.group is not None])
    score = np.concatenate([day.score for day in days])
    return Records(score, joined("features"), joined("context"), joined("conditional"), groups)


@cache
def drift_records() -> tuple[DriftRecord, ...]:
    """92 days after 80 of calibration: delays go missing from the 50th on, and one stranger day before."""
    random = np.random.default_rng(0)
    reference, earlier = seal(
        _all([flights(random) for _ in range(80)]), np.repeat([f"2013-{day:03}" for day in range(80)], 120)
    )
    monitor = DriftMonitor(reference, "flights")
    state, records = monitor.begin(earlier), []
    for day in range(92):
        seen = flights(random, missing=0.12 if day >= 50 else 0.02, shift=2.5 if day == 30 else 0.0)
        date = START + datetime.timedelta(day)
        summary = reference.summarise(seen, batch=f"{date}", day=float(date.toordinal()))
        state, record = monitor.observe(state, summary)
        records.append(record)
    return tuple(records)


def drift_report(**more: object) -> DriftReport:
    records = drift_records()
    given: dict[str, object] = {
        "pipeline": "flights",
        "version": "3",
        "made_at": "2026-11-23 08:10",
        "records": records,
        "run_href": "index.html",
        "hrefs": {record.batch: href(f"batches/{record.batch}.html") for record in records},
    }
    return DriftReport(**(given | more))  # type: ignore[arg-type]
