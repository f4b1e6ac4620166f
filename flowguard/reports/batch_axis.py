"""Batches along an axis: days at their dates, anything else in order; and lines of thousands of points made light."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from flowguard.explain.words import visible


def places(names: Sequence[str]) -> NDArray[np.float64]:
    """Where each batch lies: at its day where all names are days that follow each other, or else in order.

    >>> places(["2013-06-01", "2013-06-02", "2013-06-09"]) - places(["2013-06-01"])
    array([0., 1., 8.])
    >>> places(["b", "a"])
    array([0., 1.])
    """
    days = _days(names)
    if days is None:
        return np.arange(len(names), dtype=np.float64)
    return np.array([day.toordinal() for day in days], dtype=np.float64)


def mark(axes: Axes, names: Sequence[str], labels: int) -> None:
    """Limits and at most about that many labels of the axis; names hold anything, and are cut."""
    if not names:
        axes.set_xticks([])
        return
    x, days = places(names), _days(names)
    room = max(0.7, 0.01 * (x[-1] - x[0]))
    axes.set_xlim(x[0] - room, x[-1] + room)
    if days is not None:
        ticks = _day_ticks(days[0], days[-1], labels) or [days[0]]
        year = days[0].year != days[-1].year
        texts = [f"{d.day} {d:%b}" + (f" {d.year}" if year else "") for d in ticks]
        axes.set_xticks([d.toordinal() for d in ticks], texts)
    else:
        step = max(1, math.ceil(len(x) / labels))
        axes.set_xticks(x[::step], [_short(name, 14 if labels > 3 else 10) for name in names[::step]])
    for text in axes.get_xticklabels():
        text.set_parse_math(False)


def light(
    x: NDArray[np.float64], y: NDArray[np.float64], points: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A line of at most so many points that looks the same: the lowest and the highest of each stretch, NaN left out.

    >>> x, y = light(np.arange(1000.0), np.where(np.arange(1000) == 77, 9.0, 0.0), 20)
    >>> len(x) <= 20, float(y.max())
    (True, 9.0)
    """
    if len(x) <= points:
        return x, y
    kept: list[int] = []
    for stretch in np.array_split(np.arange(len(x)), points // 2):
        known = stretch[np.isfinite(y[stretch])]
        if len(known):
            kept += sorted({int(known[np.argmin(y[known])]), int(known[np.argmax(y[known])])})
    return x[kept], y[kept]


def _short(name: str, most: int) -> str:
    return visible(name if len(name) <= most else name[: most - 1] + "…")


def _days(names: Sequence[str]) -> list[date] | None:
    try:
        days = [date.fromisoformat(name) for name in names]
    except ValueError:
        return None
    return days if all(a < b for a, b in pairwise(days)) else None


def _day_ticks(first: date, last: date, labels: int) -> list[date]:
    span = (last - first).days
    if span > 75:
        months = [date(y, m, 1) for y in range(first.year, last.year + 1) for m in range(1, 13)]
        months = [m for m in months if first <= m <= last]
        if len(months) * 2 <= labels and span < 200:
            months = sorted([*months, *(m.replace(day=15) for m in months if m.replace(day=15) <= last)])
        return months[:: max(1, math.ceil(len(months) / labels))]
    step = max(1, math.ceil((span + 1) / labels))
    step = step if step <= 2 else 7 * math.ceil(step / 7)
    return [first + timedelta(days=k) for k in range(0, span + 1, step)]
