from __future__ import annotations

import datetime as dt
import itertools

import pytest

from flowguard.spec.cron import cron_fault, firings


@pytest.mark.parametrize(
    "expression", ["0 6 * * *", "*/5 * * * *", "0 0 1 jan,jul *", "15,45 8-18/2 * * mon-fri", "0 0 * * 7"]
)
def test_what_cron_means_is_taken(expression):
    assert cron_fault(expression) is None


@pytest.mark.parametrize(
    "expression",
    ["", "@daily", "60 * * * *", "* * 0 * *", "*/0 * * * *", "5-1 * * * *", "x * * * *", "* * * * 8", "²* * * * *"],
)
def test_what_cron_does_not_mean_is_refused(expression):
    assert cron_fault(expression)


@pytest.mark.parametrize(
    "expression",
    ["0 6 * * *", "*/7 */5 * * *", "0 0 1,15 * fri", "15,45 8-18/2 * * mon-fri", "30 2 * 3,10 7", "5/20 23 31 * *"],
)
def test_it_fired_when_an_independent_reader_of_cron_says_so(expression):
    croniter = pytest.importorskip("prefect._vendor.croniter").croniter
    walls = croniter(expression, dt.datetime(2026, 9, 30))
    expected = [walls.get_prev(dt.datetime) for _ in range(40)]
    until = dt.datetime(2026, 9, 29, 23, 59, tzinfo=dt.UTC)
    found = [one.replace(tzinfo=None) for one in itertools.islice(firings(expression, "UTC", until=until), 40)]
    assert found == expected


def test_the_moment_itself_counts_and_zones_are_minded():
    until = dt.datetime(2026, 3, 2, 5, 30, tzinfo=dt.UTC)
    assert next(firings("30 6 * * *", "Europe/Berlin", until=until)).astimezone(dt.UTC) == until
    assert next(firings("30 6 * * *", "America/New_York", until=until)).date() == dt.date(2026, 3, 1)


def test_an_hour_that_the_clocks_leave_out_has_no_runs_and_one_that_they_repeat_has_one():
    spring = dt.datetime(2026, 3, 29, 12, tzinfo=dt.UTC)
    days = [one.date().isoformat() for one in itertools.islice(firings("30 2 * * *", "Europe/Berlin", until=spring), 2)]
    assert days == ["2026-03-28", "2026-03-27"]
    autumn = dt.datetime(2026, 10, 25, 12, tzinfo=dt.UTC)
    found = list(itertools.islice(firings("30 2 * * *", "Europe/Berlin", until=autumn), 2))
    assert [one.astimezone(dt.UTC).isoformat() for one in found] == [
        "2026-10-25T00:30:00+00:00",
        "2026-10-24T00:30:00+00:00",
    ]
