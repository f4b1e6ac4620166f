"""The query of the metro_traffic pipeline: one record per hour, with what held for the day and the days before."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from flowguard.spec import load_pipeline
from flowguard.tables import Wanted, check_columns
from flowguard.tables.query import open_query
from tests.tables.tables import put, rows

PIPELINE = Path(__file__).parents[2] / "pipelines/metro_traffic.yaml"


def test_an_hour_is_one_record_and_its_own_readings_are_not_among_those_before(tmp_path):
    pipeline = load_pipeline(PIPELINE)
    # Two days of 280 K and one reading of 0 K, then New Year's Day, whose hour 14 has two descriptions of its weather.
    start = dt.datetime(2012, 12, 30, 14)
    hours = [start + dt.timedelta(hours=n) for n in range(49)]
    hours.append(hours[-1])
    n = len(hours)
    table = {
        "holiday": ["New Years Day" if one == dt.datetime(2013, 1, 1) else "None" for one in hours],
        "temp": [280.0] * 20 + [0.0] + [280.0] * 27 + [270.0, 270.0],
        "rain_1h": [0.0] * (n - 1) + [0.5],
        "snow_1h": [0.0] * n,
        "clouds_all": [1] * n,
        "weather_main": ["Clear"] * (n - 2) + ["Rain", "Mist"],
        "weather_description": ["sky is clear"] * (n - 2) + ["light rain", "mist"],
        "date_time": [str(one) for one in hours],
        "traffic_volume": [1000] * n,
    }
    put(tmp_path / "data/metro_traffic/traffic.parquet", table)
    source = open_query(
        pipeline.source.query,
        tables=pipeline.source.tables,
        root=tmp_path,
        time=pipeline.source.time,
        key=pipeline.source.key,
    )
    with source:
        check_columns(source.schema(), Wanted.gather(pipeline.uses()), where="metro_traffic")
        assert [(batch.name, batch.rows) for batch in source.batches()] == [
            ("2012-12-30", 10),
            ("2012-12-31", 24),
            ("2013-01-01", 15),
        ]
        first = rows(source.read(batch="2012-12-30"))[0]
        day = {one["hour"]: one for one in rows(source.read(batch="2013-01-01"))}
    assert first["temp_before"] is None
    assert all(one["holiday"] for one in day.values())
    assert not first["holiday"]
    last = day[14]
    assert (last["temp"], last["rain_1h"], last["weather"]) == (270.0, 0.5, "Mist, Rain")
    assert (last["temp_before"], last["weekday"]) == (280.0, "Tuesday")
