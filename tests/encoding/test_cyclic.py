from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.encoding.cyclic import read_phase
from flowguard.errors import SchemaError


def phase(array: pa.Array, period: float | str) -> list[float]:
    return read_phase(array, period, column="t").tolist()


def test_a_number_is_taken_modulo_its_period() -> None:
    assert phase(pa.array([0, 6, 24, 30, -6]), 24) == [0.0, 0.25, 0.0, 0.25, 0.75]


def test_missing_and_infinite_are_told_apart() -> None:
    values = read_phase(pa.array([None, float("nan"), float("inf"), 1.0]), 24, column="t")
    assert np.isnan(values[:2]).all()
    assert np.isinf(values[2])
    assert np.isnan(phase(pa.nulls(2), "day")).all()


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(min_value=1e-3, max_value=1e9))
def test_a_phase_lies_in_its_period(value: float, period: float) -> None:
    assert 0 <= phase(pa.array([value]), period)[0] < 1


@given(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2250, 1, 1)))
def test_calendar_phases_equal_those_of_the_standard_library(moment: dt.datetime) -> None:
    day = dt.timedelta(days=1)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    first, last = dt.datetime(moment.year, 1, 1), dt.datetime(moment.year + 1, 1, 1)
    expected = {
        "day": (moment - midnight) / day,
        "week": (moment.weekday() + (moment - midnight) / day) / 7,
        "year": (moment - first) / (last - first),
    }
    for unit in ("us", "ns"):
        array = pa.array([moment], pa.timestamp(unit))
        for period, value in expected.items():
            assert phase(array, period)[0] == pytest.approx(value, abs=1e-12)


def test_every_temporal_type_has_its_periods() -> None:
    wednesday = dt.datetime(2013, 1, 2, 6)
    for kind in (pa.timestamp("s"), pa.timestamp("ms", tz="UTC"), pa.timestamp("ns")):
        assert phase(pa.array([wednesday], kind), "day") == [0.25]
        assert phase(pa.array([wednesday], kind), "week") == pytest.approx([2.25 / 7])
    for kind in (pa.date32(), pa.date64()):
        assert phase(pa.array([wednesday.date()], kind), "week") == pytest.approx([2 / 7])
        assert phase(pa.array([wednesday.date()], kind), "year") == pytest.approx([1 / 365])
    for kind in (pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")):
        assert phase(pa.array([dt.time(6)], kind), "day") == [0.25]
    hours = pa.array([dt.timedelta(hours=30), None], pa.duration("ms"))
    assert phase(hours, "day")[0] == 0.25
    assert phase(hours, 3600 * 40)[0] == 0.75
    assert np.isnan(phase(hours, "day")[1])


def test_a_timestamp_is_read_in_its_own_zone() -> None:
    noon_utc = pa.array([dt.datetime(2013, 7, 1, 12)], pa.timestamp("us", tz="UTC"))
    try:
        local = phase(noon_utc.cast(pa.timestamp("us", tz="America/New_York")), "day")
    except SchemaError:
        pytest.skip("this machine has no time zone database")
    assert local == pytest.approx([8 / 24])
    with pytest.raises(SchemaError, match="Nowhere"):
        phase(noon_utc.cast(pa.int64()).cast(pa.timestamp("us", tz="Nowhere/Land")), "day")


@pytest.mark.parametrize(
    ("array", "period"),
    [
        (pa.array([dt.date(2013, 1, 1)]), "day"),
        (pa.array([dt.time(1)]), "week"),
        (pa.array([dt.time(1)]), 24),
        (pa.array([dt.datetime(2013, 1, 1)]), 24),
        (pa.array([5]), "day"),
        (pa.array(["monday"]), "week"),
        (pa.array([True]), 2),
    ],
)
def test_a_type_without_that_period_is_refused_by_name(array: pa.Array, period: float | str) -> None:
    with pytest.raises(SchemaError, match=r"column 't' holds .*expected .*period"):
        read_phase(array, period, column="t")
