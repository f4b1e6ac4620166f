"""The pipeline files that come with the project."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from flowguard.spec import load_pipeline
from flowguard.tables import Wanted, check_columns
from flowguard.tables.query import open_query
from tests.tables.tables import put, rows

FOLDER = Path(__file__).parents[2] / "pipelines"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_pipeline_file_of_the_project_loads(path):
    pipeline = load_pipeline(path)
    assert pipeline.name == path.stem
    assert pipeline.root == FOLDER.parent
    assert pipeline.description


def test_the_flights_query_keeps_every_flight_and_takes_the_local_day(tmp_path):
    pipeline = load_pipeline(FOLDER / "flights.yaml")
    evening = dt.datetime(2013, 5, 26, 1, tzinfo=dt.UTC)  # 21:00 on the 25th in New York
    flights = {
        "year": [2013] * 2, "month": [5] * 2, "day": [25] * 2, "dep_time": [2110, None], "sched_dep_time": [2130, 559],
        "dep_delay": [-20, None], "arr_time": [2300, None], "sched_arr_time": [2310, 700], "arr_delay": [-10, None],
        "carrier": ["DL", "AA"], "flight": [1, 2], "tailnum": ["N1", None], "origin": ["JFK", "LGA"],
        "dest": ["BOS"] * 2,
        "air_time": [39, None], "distance": [187, 184], "hour": [21, 5], "minute": [30, 59],
        "time_hour": pa.array([evening, dt.datetime(2013, 5, 25, 9, tzinfo=dt.UTC)], pa.timestamp("us", "UTC")),
    }  # fmt: skip
    weather = {
        "origin": ["JFK"], "year": [2013], "month": [5], "day": [25], "hour": [21], "temp": [60.5], "dewp": [1.0],
        "humid": [1.0], "wind_dir": [10], "wind_speed": [5.0], "wind_gust": [None], "precip": [0.0], "pressure": [None],
        "visib": [10.0], "time_hour": pa.array([evening], pa.timestamp("us", "UTC")),
    }  # fmt: skip
    planes = {
        "tailnum": ["N1"], "year": [2003], "type": ["x"], "manufacturer": ["x"], "model": ["x"], "engines": [2],
        "seats": [150], "speed": [None], "engine": ["x"],
    }  # fmt: skip
    for name, columns in {"flights": flights, "weather": weather, "planes": planes}.items():
        put(tmp_path / f"data/flights/{name}.parquet", columns)
    source = open_query(
        pipeline.source.query,
        tables=pipeline.source.tables,
        root=tmp_path,
        time=pipeline.source.time,
        key=pipeline.source.key,
    )
    with source:
        check_columns(source.schema(), Wanted.gather(pipeline.uses()), where="flights")
        assert [(batch.name, batch.rows) for batch in source.batches()] == [("2013-05-25", 2)]
        cancelled, flown = rows(source.read(batch="2013-05-25"))
    assert (flown["wind_speed"], flown["plane_age"], flown["seats"], flown["scheduled_hour"]) == (5.0, 10, 150, 21.5)
    assert (flown["scheduled_minutes"], flown["late_before"]) == (100, None)
    assert (cancelled["dep_delay"], cancelled["wind_speed"], cancelled["seats"]) == (None, None, None)
    assert cancelled["scheduled_hour"] == pytest.approx(5 + 59 / 60)
