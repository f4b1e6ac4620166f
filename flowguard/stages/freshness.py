"""Freshness: is the batch there that should be by now, by the schedule of the pipeline file?"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from flowguard.errors import SourceError
from flowguard.logs import scoped
from flowguard.spec.cron import firings
from flowguard.spec.sections import ScheduleSection
from flowguard.stages.manifest import latest
from flowguard.stages.workspace import Workspace
from flowguard.tables import Batch, Source
from flowguard.tables.period import UNDATED

#: So many runs back a daily batch that never came is still told.
REMEMBERED = 30


@dataclass(frozen=True)
class Freshness:
    """What the source holds at `checked_at`, beside what it should.

    `due` is the latest moment at which the schedule fired, None without a schedule; `expected` the daily batch that
    had to be there then, None where batches are files or partitions. `newest` is the last batch by name, `delivered`
    the time at which the newest file was written. `missing` are earlier daily batches that never came, `waiting` those
    that are there and not scored as they are, `empty` those of them without a record. `sentence` says it in words.
    """

    pipeline: str
    checked_at: dt.datetime
    due: dt.datetime | None
    expected: str | None
    newest: str | None
    delivered: dt.datetime | None
    late: bool
    missing: tuple[str, ...]
    waiting: tuple[str, ...]
    empty: tuple[str, ...]
    sentence: str


@scoped
def freshness(pipeline: str | Path, *, now: dt.datetime | None = None) -> Freshness:
    """Whether the newest batch is late at `now` (aware; default: the present moment).

    Of daily batches, that of `schedule.lag` days before the last run must be there. Of files and partitions, one must
    have been written since the run before it. A source that holds nothing at all is late too; without a schedule
    nothing is expected, and nothing is late.
    """
    workspace = Workspace.open(pipeline)
    spec = workspace.pipeline
    now = now or dt.datetime.now(dt.UTC)
    schedule = spec.schedule
    fired = [] if schedule is None else _fired(schedule, now)
    due = fired[0] if fired else None
    daily = spec.source.batch == "day"
    expected = _days(fired[:1], schedule) if daily else []
    try:
        with workspace.source() as source:
            batches, delivered = source.batches(), source.delivered()
            waiting = _waiting(workspace, source, batches)
    except SourceError as error:
        words = f"Nothing can be read: {error}"
        return Freshness(
            spec.name, now, due, _first(expected), None, None, due is not None, (), (), (), _told(words, due, now)
        )
    names = sorted(batch.name for batch in batches if batch.name != UNDATED)
    newest = names[-1] if names else None
    missing: tuple[str, ...] = ()
    if daily:
        late = bool(expected) and expected[0] not in names
        before = _days(fired[1:], schedule)
        missing = tuple(sorted(day for day in before if names and names[0] < day and day not in names))
    else:
        # Of the last run's batches, the files were written since the run before it.
        late = len(fired) > 1 and delivered <= fired[1]
    return Freshness(
        pipeline=spec.name,
        checked_at=now,
        due=due,
        expected=_first(expected),
        newest=newest,
        delivered=delivered,
        late=late,
        missing=missing,
        waiting=tuple(batch.name for batch in waiting),
        empty=tuple(batch.name for batch in waiting if not batch.rows),
        sentence=_told(_found(late, _first(expected), newest, delivered, fired), due, now),
    )


def _fired(schedule: ScheduleSection, now: dt.datetime) -> list[dt.datetime]:
    return list(islice(firings(schedule.cron, schedule.timezone, until=now), REMEMBERED + 1))


def _days(fired: list[dt.datetime], schedule: ScheduleSection | None) -> list[str]:
    """The daily batches that had to be there when the schedule fired, each once."""
    lag = dt.timedelta(days=0 if schedule is None else schedule.lag)
    return list(dict.fromkeys((moment.date() - lag).isoformat() for moment in fired))


def _waiting(workspace: Workspace, source: Source, batches: list[Batch]) -> list[Batch]:
    known = latest(workspace.folder)
    return [batch for batch in batches if batch.name not in known or known[batch.name].stamp != source.stamp(batch)]


def _first(days: list[str]) -> str | None:
    return days[0] if days else None


def _found(
    late: bool, expected: str | None, newest: str | None, delivered: dt.datetime, fired: list[dt.datetime]
) -> str:
    if expected is not None:
        there = f"the newest is {newest}" if newest else "there is none"
        return f"Batch {expected} is not there: {there}." if late else f"Batch {expected} is there."
    if not late:
        return f"The newest file was written {_moment(delivered)}."
    return f"No file was written since {_moment(fired[1])}: the newest is of {_moment(delivered)}."


def _told(words: str, due: dt.datetime | None, now: dt.datetime) -> str:
    if due is None:
        return f"{words} No batch is expected: the pipeline file has no schedule."
    return f"{words} It was due {_moment(due)}, looked at {_moment(now.astimezone(due.tzinfo))}."


def _moment(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M %Z")
