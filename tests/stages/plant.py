"""A plant whose meters, thermometers and modes go together, and faults to plant in what it delivers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PIPELINE = """\
name: plant
source: {path: data/*.parquet, batch: day, time: date, key: [id]}
columns:
  features:
    power: {kind: number, unit: kW}
    flow: number
    pressure: number
    temperature: {kind: number, unit: C}
    mode: category
    starts: integer
  context:
    site: category
    line: category
    hour: {kind: cyclic, period: 24}
split: {until: 2026-03-07, train: 0.5, validation: 0.1, calibration: 0.3, holdout: 0.1}
model: {layers: 2, hidden: [32], bins: 8, epochs: 6, batch_size: 256, learning_rate: 0.005}
score: largest
policy: {false_alarm_rate: 0.005}
resources: {threads: 1, tile: 256}
"""
FIRST = dt.date(2026, 3, 1)
LEARNED = 6
SCORED = 5

Row = dict[str, Any]


def day(number: int, rows: int, rng: np.random.Generator) -> list[Row]:
    """The records of one day."""
    hour = rng.integers(0, 24, rows).astype(float)
    site = rng.choice(["north", "south", "west"], rows, p=[0.3, 0.4, 0.3])
    line = rng.choice([f"L{i}" for i in range(8)], rows)
    power = np.exp(1.5 + 0.4 * np.sin(hour / 24 * 2 * np.pi) + 0.3 * (site == "north") + rng.normal(0, 0.15, rows))
    flow = 8 * power * np.exp(rng.normal(0, 0.1, rows))
    mode = np.where(rng.random(rows) < 0.1, "idle", np.where(power > 5, "full", "half"))
    columns = {
        "id": number * 100_000 + np.arange(rows),
        "hour": hour,
        "site": site,
        "line": line,
        "power": power,
        "flow": flow,
        "pressure": 3 + 0.02 * flow + rng.normal(0, 0.15, rows),
        "temperature": 20 + 1.5 * power + rng.normal(0, 1.5, rows),
        "mode": mode,
        "starts": rng.poisson(2 + (mode == "half") * 2),
    }
    lists = {name: values.tolist() for name, values in columns.items()}
    return [
        {"date": FIRST + dt.timedelta(number), **dict(zip(lists, row))} for row in zip(*lists.values(), strict=True)
    ]


# A fault: in which records it may be, how many of a day have it, and what it does.
Fault = tuple[Callable[[Row], bool], int, Callable[[Row], None]]


def set_to(column: str, value: Any) -> Callable[[Row], None]:
    return lambda row: row.__setitem__(column, value)


def times(column: str, factor: float) -> Callable[[Row], None]:
    return lambda row: row.__setitem__(column, factor * row[column])


def swap(one: str, other: str) -> Callable[[Row], None]:
    return lambda row: row.update({one: row[other], other: row[one]})


def write(folder: Path, faults: Mapping[str, Fault], *, rows: int = 1200, seed: int = 0) -> tuple[Path, dict[int, str]]:
    """A project whose last `SCORED` days have the faults: its pipeline file, and the fault of each id that has one."""
    rng = np.random.default_rng(seed)
    (folder / "data").mkdir(parents=True)
    (folder / "pipelines").mkdir()
    truth: dict[int, str] = {}
    for number in range(LEARNED + SCORED):
        records = day(number, rows, rng)
        free = rng.permutation(rows).tolist()
        for name, (may, count, spoil) in faults.items() if number >= LEARNED else ():
            for place in [place for place in free if may(records[place])][:count]:
                free.remove(place)
                spoil(records[place])
                truth[records[place]["id"]] = name
        pq.write_table(pa.Table.from_pylist(records), folder / "data" / f"day{number:02d}.parquet")
    path = folder / "pipelines" / "plant.yaml"
    path.write_text(PIPELINE, encoding="utf-8")
    return path, truth
