"""Five-field cron expressions: is this one, and when did it fire last?"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from zoneinfo import ZoneInfo

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _WEEKDAYS),
)
_ITEM = re.compile(r"^(?:\*|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?$")


def cron_fault(expression: str) -> str | None:
    """What is wrong with a cron expression, or None.

    >>> cron_fault("0 6 * * mon-fri") is None
    True
    >>> cron_fault("0 25 * * *")
    "hour '25' is not within 0 to 23"
    """
    fields = expression.split()
    if len(fields) != 5:
        return f"{len(fields)} fields in place of 5 (minute, hour, day of month, month, day of week)"
    for text, (what, lowest, highest, names) in zip(fields, _FIELDS, strict=True):
        for item in text.split(","):
            fault = _item_fault(item, lowest, highest, names)
            if fault:
                return f"{what} {item!r} {fault}"
    return None


def firings(expression: str, timezone: str, *, until: dt.datetime) -> Iterator[dt.datetime]:
    """The moments at which a valid cron expression fired, newest first, from `until` (aware, included) back five years.

    Of a day of the month and a day of the week that are both named, either suffices, as in every cron. Where a change
    of clocks leaves an hour out, nothing fires in it; where it repeats one, the first of the two counts.

    >>> moments = firings("30 6 * * mon-fri", "Europe/Berlin", until=dt.datetime(2026, 3, 2, 5, 0, tzinfo=dt.UTC))
    >>> next(moments).isoformat()
    '2026-02-27T06:30:00+01:00'
    """
    zone = dt.UTC if timezone == "UTC" else ZoneInfo(timezone)
    minutes, hours, days, months, weekdays = (
        _values(text, lowest, highest, names)
        for text, (_, lowest, highest, names) in zip(expression.split(), _FIELDS, strict=True)
    )
    either = not any(expression.split()[at].startswith("*") for at in (2, 4))
    weekdays = {day % 7 for day in weekdays}  # Sunday is 0 and 7
    last = until.astimezone(zone).date()
    for back in range(5 * 366):
        day = last - dt.timedelta(days=back)
        named = (day.day in days, day.isoweekday() % 7 in weekdays)
        if day.month not in months or not (any(named) if either else all(named)):
            continue
        for hour in sorted(hours, reverse=True):
            for minute in sorted(minutes, reverse=True):
                moment = dt.datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                there = moment.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) == moment.replace(tzinfo=None)
                if there and moment.astimezone(dt.UTC) <= until:
                    yield moment


def _values(text: str, lowest: int, highest: int, names: list[str]) -> set[int]:
    found: set[int] = set()
    for item in text.split(","):
        match = _ITEM.match(item)
        assert match, "only valid expressions come here"
        low = lowest if match["low"] is None else _value(match["low"], names, lowest)
        high = low if match["high"] is None else _value(match["high"], names, lowest)
        if match["low"] is None or (match["high"] is None and match["step"]):
            high = highest
        assert low is not None
        assert high is not None
        found |= set(range(low, high + 1, int(match["step"] or 1)))
    return found


def _item_fault(item: str, lowest: int, highest: int, names: list[str]) -> str | None:
    match = _ITEM.match(item)
    if not match:
        return "is not *, a number, a range a-b, or one of these with a step /n"
    if match["step"] is not None and int(match["step"]) == 0:
        return "has a step of 0"
    ends = [_value(end, names, lowest) for end in (match["low"], match["high"]) if end is not None]
    if any(end is None or not lowest <= end <= highest for end in ends):
        return f"is not within {lowest} to {highest}"
    if len(ends) == 2 and ends[0] > ends[1]:  # type: ignore[operator]
        return "is a range that runs backwards"
    return None


def _value(text: str, names: list[str], lowest: int) -> int | None:
    if text.isascii() and text.isdigit():
        return int(text)
    lowered = text.lower()
    return names.index(lowered) + lowest if lowered in names else None
