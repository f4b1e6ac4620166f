"""Five-field cron expressions: is this one?"""

from __future__ import annotations

import re

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
