"""Freshness: late, missing, waiting and empty batches, by the schedule and by what the source holds."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flowguard.stages.freshness import freshness
from flowguard.stages.score import score
from tests.conftest import PIPELINE, meters, write_project
from tests.stages.test_drift import DAYS, a_day

EVERY_DAY = 'schedule: {cron: "0 6 * * *", timezone: Europe/Berlin%s}\n'


def daily(folder: Path, days: range, schedule: str = EVERY_DAY % "") -> Path:
    """A project with one file for each of these days of January 2026, from 0 on."""
    path = write_project(folder / "project", DAYS + schedule)
    for old in (path.parents[1] / "data").iterdir():
        old.unlink()
    for number in days:
        pq.write_table(a_day(number), path.parents[1] / "data" / f"{number:03d}.parquet")
    return path


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 1, day, hour, minute, tzinfo=UTC)


def written(path: Path, moment: datetime) -> None:
    os.utime(path, (moment.timestamp(), moment.timestamp()))


def test_yesterdays_batch_is_due_at_todays_run_and_not_before(tmp_path: Path) -> None:
    path = daily(tmp_path, range(5))  # 1 to 5 January
    before = freshness(path, now=at(7, 4, 59))  # 05:59 in Berlin: the run of the 6th expected the 5th
    assert (before.late, before.expected, before.newest) == (False, "2026-01-05", "2026-01-05")
    after = freshness(path, now=at(7, 5))
    assert (after.late, after.expected, after.newest) == (True, "2026-01-06", "2026-01-05")
    assert after.due == at(7, 5)
    assert after.sentence == (
        "Batch 2026-01-06 is not there: the newest is 2026-01-05. "
        "It was due 2026-01-07 06:00 CET, looked at 2026-01-07 06:00 CET."
    )
    assert after.waiting == tuple(f"2026-01-0{day}" for day in range(1, 6))


@pytest.mark.parametrize(("lag", "late"), [(0, True), (1, True), (2, False)])
def test_the_lag_says_which_day_is_due(tmp_path: Path, lag: int, late: bool) -> None:
    path = daily(tmp_path, range(5), EVERY_DAY % f", lag: {lag}")
    assert freshness(path, now=at(7, 12)).late is late


def test_a_day_that_never_came_is_told_and_is_no_alarm_once_the_next_is_there(tmp_path: Path) -> None:
    path = daily(tmp_path, range(6))
    (path.parents[1] / "data" / "002.parquet").unlink()
    found = freshness(path, now=at(7, 12))
    assert (found.late, found.missing) == (False, ("2026-01-03",))


def test_days_on_which_nothing_is_scheduled_are_not_expected(tmp_path: Path) -> None:
    # Tuesday to Saturday, for the working days before; 3 and 4 January 2026 are a weekend.
    path = daily(tmp_path, range(2), EVERY_DAY.replace("* * *", "* * tue-sat") % "")
    assert not freshness(path, now=at(5, 12)).late
    assert freshness(path, now=at(6, 12)).expected == "2026-01-05"


def test_of_files_one_must_have_been_written_between_the_last_two_runs(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project", PIPELINE + EVERY_DAY % "")
    data = path.parents[1] / "data"
    for file in data.iterdir():
        written(file, at(5, 4))
    assert not freshness(path, now=at(5, 12)).late
    assert not freshness(path, now=at(6, 4)).late
    found = freshness(path, now=at(6, 12))
    assert (found.late, found.expected) == (True, None)
    assert "No file was written since 2026-01-05 06:00 CET" in found.sentence
    written(data / "part1.parquet", at(6, 4))  # delivered again counts
    assert not freshness(path, now=at(6, 12)).late


def test_a_source_without_anything_is_late_and_says_why(tmp_path: Path) -> None:
    path = daily(tmp_path, range(0))
    found = freshness(path, now=at(7, 12))
    assert (found.late, found.newest) == (True, None)
    assert "data/*.parquet matches no file" in found.sentence


def test_without_a_schedule_nothing_is_expected(tmp_path: Path) -> None:
    for days in (range(3), range(0)):
        found = freshness(daily(tmp_path / str(len(days)), days, ""), now=at(20, 12))
        assert not found.late
        assert "no schedule" in found.sentence


def test_a_query_knows_when_its_newest_table_was_written(tmp_path: Path) -> None:
    text = PIPELINE.replace(
        "path: data/*.parquet\n  batch: file",
        "tables: {meters: data/*.parquet}\n  query: SELECT *, DATE '2026-01-05' AS day FROM meters\n  time: day",
    )
    path = write_project(tmp_path / "project", text + EVERY_DAY % "")
    for number, file in enumerate(sorted((path.parents[1] / "data").iterdir())):
        written(file, at(3 + number, 4))
    found = freshness(path, now=at(6, 12))
    assert (found.late, found.newest, found.delivered) == (False, "2026-01-05", at(5, 4))


def test_what_waits_is_what_is_not_scored_as_it_is(project: Path) -> None:
    score(project)
    data = project.parents[1] / "data"
    assert freshness(project).waiting == ()
    pq.write_table(meters(0, 9), data / "part9.parquet")
    pq.write_table(meters(40, 8), data / "part1.parquet")
    found = freshness(project)
    assert (found.waiting, found.empty) == (("part1", "part9"), ("part9",))
    results = score(project)
    assert [(one.manifest.batch, one.manifest.read) for one in results] == [("part1", 40), ("part9", 0)]
    assert freshness(project).waiting == ()


def test_an_aware_moment_of_any_zone_will_do(tmp_path: Path) -> None:
    path = daily(tmp_path, range(5))
    assert freshness(path, now=at(7, 12).astimezone()).expected == date(2026, 1, 6).isoformat()
