from __future__ import annotations

import io
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.errors import SchemaError
from flowguard.registry.arrival import as_declared

COLUMNS = {
    "delay": "double",
    "seats": "int64",
    "origin": "string",
    "weekend": "bool",
    "left": "timestamp[us, tz=UTC]",
    "noticed": "timestamp[ns]",
    "day": "date32[day]",
}


def table() -> pd.DataFrame:
    """As pandas reads it from Parquet, each column with a missing value."""
    return pd.DataFrame(
        {
            "delay": [65.0, np.nan],
            "seats": [180.0, np.nan],
            "origin": ["JFK", None],
            "weekend": pd.Series([True, None], dtype=object),
            "left": pd.Series([pd.Timestamp("2013-07-22 18:00", tz="UTC"), pd.NaT]),
            "noticed": pd.Series([pd.Timestamp("2013-07-22 18:05"), pd.NaT]),
            "day": pd.Series([date(2013, 7, 22), None], dtype=object),
        }
    )


def by_json(frame: pd.DataFrame) -> pd.DataFrame:
    """As MLflow's server makes it of its JSON."""
    text = frame.to_json(orient="records", date_format="iso")
    return pd.DataFrame(pd.read_json(io.StringIO(text), orient="records", dtype=False, convert_dates=False))


def by_csv(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(frame.to_csv(index=False)))


@pytest.mark.parametrize("deliver", [lambda frame: frame, by_json, by_csv], ids=["frame", "json", "csv"])
@pytest.mark.parametrize("rows", [slice(0, 2), slice(0, 1), slice(1, 2)], ids=["both", "present", "missing"])
def test_the_same_records_arrive_the_same_by_every_way(deliver, rows: slice) -> None:  # type: ignore[no-untyped-def]
    sent = table().iloc[rows].reset_index(drop=True)
    expected = as_declared(sent, COLUMNS)
    pd.testing.assert_frame_equal(as_declared(deliver(sent), COLUMNS), expected)
    assert expected["delay"].dtype == np.float64
    if rows.start == 0:
        assert expected["seats"].iloc[0] == 180
        assert expected["left"].iloc[0] == pd.Timestamp("2013-07-22 18:00", tz="UTC")
        assert expected["day"].iloc[0] == date(2013, 7, 22)
    assert expected.iloc[-1].isna().all() == (rows.stop == 2)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats() | st.integers(-(2**53), 2**53) | st.none(), min_size=1, max_size=8))
def test_numbers_keep_their_value_and_missing_ones_stay_missing(values: list[float | int | None]) -> None:
    arrived = as_declared(pd.DataFrame({"x": pd.Series(values, dtype=object)}), {"x": "double"})["x"]
    assert arrived.dtype == np.float64
    expected = [np.nan if value is None else float(value) for value in values]
    np.testing.assert_array_equal(arrived.to_numpy(), expected)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("double", "a lot"),
        ("double", True),
        ("int64", 1.5),
        ("int64", "many"),
        ("string", 2134),
        ("bool", "yes"),
        ("bool", 1),
        ("timestamp[us]", 1374516000),
        ("timestamp[us]", "2013-07-22T18:00:00Z"),
        ("timestamp[us, tz=UTC]", "yesterday evening"),
        ("date32[day]", "soon"),
    ],
)
def test_a_value_of_another_kind_is_named_with_its_column_and_record(text: str, value: object) -> None:
    good = {"bool": True, "string": "x", "double": 1.0, "int64": 1}.get(text)
    frame = pd.DataFrame({"column": pd.Series([good, value], dtype=object)})
    with pytest.raises(SchemaError, match=r"Column column, record 2: found .* expects") as error:
        as_declared(frame, {"column": text})
    assert repr(value) in str(error.value)


def test_values_of_redacted_columns_are_not_quoted() -> None:
    with pytest.raises(SchemaError) as error:
        as_declared(pd.DataFrame({"salary": ["a secret"]}), {"salary": "double"}, redact=["salary"])
    assert "a secret" not in str(error.value)


def test_an_absent_column_is_named_and_an_absent_key_is_not_needed() -> None:
    frame = pd.DataFrame({"delay": [1.0], "flight": [17], "other": [1]})
    assert list(as_declared(frame, {"delay": "double"}, key=["flight", "day"]).columns) == ["delay", "flight"]
    with pytest.raises(SchemaError, match="lack the column seats"):
        as_declared(frame, {"delay": "double", "seats": "int64"})


def test_a_time_without_zone_is_utc_where_a_zone_is_declared_and_other_zones_are_converted() -> None:
    frame = pd.DataFrame({"left": ["2013-07-22 18:00", "2013-07-22T14:00:00-04:00"]})
    times = as_declared(frame, {"left": "timestamp[us, tz=UTC]"})["left"]
    assert (times == pd.Timestamp("2013-07-22 18:00", tz="UTC")).all()
