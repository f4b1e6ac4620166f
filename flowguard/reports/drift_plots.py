"""The figures of the drift page: evidence over the batches, and shares over the batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from flowguard.explain.words import visible
from flowguard.reports import batch_axis
from flowguard.reports.canvas import PAGE, drawing, svg
from flowguard.reports.drift_page import DriftReport, channel_words, multiple
from flowguard.reports.plots import _percent_tick

Array = NDArray[np.float64]

#: Points of one line: more than there are pixels for.
_POINTS = {"wide": 900, "narrow": 400}

#: Alarms up to which each is a link and a tooltip, and a line through the plots of shares.
MANY = 120

#: Evidence below this has lost its bets, and is drawn no lower.
_LEAST = -2.0

_POINT: dict[str, Any] = {"color": PAGE.alert, "marker": "o", "ls": "none", "mew": 0}


def evidence_plot(report: DriftReport, *, width: int = 980, height: int = 260) -> str:
    """The largest evidence of any channel at each batch, alarms as points that link to their batch: an ``<svg>``."""
    with drawing(width, height, f"evidence{width}") as (figure, axes):
        largest = _largest(report)
        bottom, top = limits(report)
        _draw(axes, report, largest, bottom, top, size="wide" if width > 600 else "narrow", labels=max(3, width // 130))
        alarms = [(i, key) for i, record in enumerate(report.records) for key in record.alarms[:1]]
        titles = _points(axes, report, [i for i, _ in alarms], largest, 7.0, "all")
        _names(axes, report, largest, width)
        return svg(figure, titles)


def channel_plot(report: DriftReport, key: str, place: int, *, width: int = 310, height: int = 130) -> str:
    """The evidence of one channel at each batch, on the scale of all: an ``<svg>``."""
    with drawing(width, height, f"channel{place}") as (figure, axes):
        values = report.evidence[:, report.channels.index(key)]
        bottom, top = limits(report)
        _draw(axes, report, values, bottom, top, size="narrow", labels=3)
        alarms = [i for i, record in enumerate(report.records) if key in record.alarms]
        titles = _points(axes, report, alarms, values, 5.5, str(place))
        return svg(figure, titles)


def tenth_plot(report: DriftReport, *, width: int = 980, height: int = 240) -> str:
    """The share of records within the highest tenth of the scores at calibration: an ``<svg>``."""
    with drawing(width, height, f"tenth{width}") as (figure, axes):
        x = batch_axis.places([record.batch for record in report.records])
        sizes = np.array([record.records for record in report.records], dtype=np.float64)
        half = 1.96 * np.sqrt(0.09 / np.maximum(sizes, 1.0))
        some = np.unique(np.linspace(0, len(x) - 1, 600).astype(int)) if len(x) else np.zeros(0, dtype=int)
        if len(x) > 1:
            low, high = np.maximum(0.0, 0.1 - half[some]), np.minimum(1.0, 0.1 + half[some])
            axes.fill_between(x[some], low, high, where=sizes[some] > 0, color=PAGE.accent, alpha=0.18, lw=0)
        axes.axhline(0.1, color=PAGE.soft, lw=1.2, ls=(0, (4, 3)))
        top = min(1.0, float(np.max(0.1 + half[sizes > 0], initial=0.1)))
        alarms = [i for i, record in enumerate(report.records) if record.alarms]
        values = highest_tenth(report)
        _shares(axes, report, values, alarms, max(3, width // 130), top, width > 600)
        odd = [i for i, record in enumerate(report.records) if record.flagged and np.isfinite(values[i])]
        titles = {}
        for i in odd[-MANY:]:
            record, gid = report.records[i], f"odd-{width}-{i}"
            axes.plot(x[i], values[i], **_POINT, ms=6.5, gid=gid, url=report.hrefs.get(record.batch) or None)
            titles[gid] = f"{visible(record.batch[:60])}: {visible(record.sentence[:200])}"
        return svg(figure, titles)


def share_plot(
    report: DriftReport, name: str, values: Array, keys: Sequence[str] = (), *, width: int = 310, height: int = 130
) -> str:
    """A share at each batch; the alarms of the channels `keys` as lines. `name` keeps its ids apart: an ``<svg>``."""
    with drawing(width, height, name) as (figure, axes):
        alarms = [i for i, record in enumerate(report.records) if set(keys) & set(record.alarms)]
        _shares(axes, report, values, alarms, 3, 0.0, False)
        return svg(figure)


def highest_tenth(report: DriftReport) -> Array:
    """The share of each batch's records within the highest tenth of scores; NaN for a batch of none."""
    shares = [record.score_shares[-1] if record.score_shares else math.nan for record in report.records]
    return np.array(shares, dtype=np.float64)


def limits(report: DriftReport) -> tuple[float, float]:
    """The scale of evidence, one for all plots, in powers of ten."""
    known = report.evidence[np.isfinite(report.evidence)]
    low = max(_LEAST, float(known.min(initial=0.0)))
    high = float(known.max(initial=report.threshold if math.isfinite(report.threshold) else 1.0))
    room = 0.09 * (high - low or 1.0)
    return low - room, high + 2.0 * room


def _largest(report: DriftReport) -> Array:
    filled = np.where(np.isnan(report.evidence), -np.inf, report.evidence)
    highest = filled.max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(highest), highest, np.nan)


def _draw(axes: Axes, report: DriftReport, values: Array, bottom: float, top: float, *, size: str, labels: int) -> None:
    names = [record.batch for record in report.records]
    x, y = batch_axis.light(batch_axis.places(names), np.maximum(values, _LEAST), _POINTS[size])
    axes.plot(x, y, color=PAGE.accent, lw=1.6 if len(x) < 500 else 1.0, marker="o", ms=3.5 if len(x) < 3 else 0)
    if math.isfinite(report.threshold):
        axes.axhline(report.threshold, color=PAGE.alert, lw=1.4, ls=(0, (4, 3)))
    axes.set_ylim(bottom, top)
    ticks = MaxNLocator(5 if labels > 3 else 3, integer=True).tick_values(bottom, top)
    ticks = [t for t in ticks if bottom <= t <= top]
    axes.set_yticks(ticks, [_power(t) for t in ticks])
    batch_axis.mark(axes, names, labels)


def _points(
    axes: Axes, report: DriftReport, alarms: Sequence[int], values: Array, size: float, name: str
) -> dict[str, str]:
    x = batch_axis.places([record.batch for record in report.records])
    if len(alarms) > MANY:
        axes.plot(x[list(alarms)], values[list(alarms)], **_POINT, ms=0.6 * size)
        return {}
    titles = {}
    for i in alarms:
        record = report.records[i]
        gid = f"alarm-{name}-{i}"
        axes.plot(x[i], values[i], **_POINT, ms=size, gid=gid, url=report.hrefs.get(record.batch) or None)
        what = ", ".join(channel_words(key) for key in record.alarms[:3])
        titles[gid] = f"{visible(record.batch[:60])}: {what}; {multiple(record.odds)} the threshold"
    return titles


def _names(axes: Axes, report: DriftReport, values: Array, width: int) -> None:
    """The channel beside each point that has room for it; the others have it in their tooltips and the table."""
    x = batch_axis.places([record.batch for record in report.records])
    if not len(x):
        return
    left, right = axes.get_xlim()
    pixels = (width - 72) / (right - left)
    taken: list[tuple[float, float]] = []
    alarms = [i for i, record in enumerate(report.records) if record.alarms and np.isfinite(values[i])]
    for i in sorted(alarms, key=lambda i: -values[i]):
        at = (x[i] - left) * pixels
        text = channel_words(report.records[i].alarms[0])
        text = text if len(text) <= 34 else text[:33] + "…"
        length = 6.6 * len(text) + 12
        # To the right of its point, or to the left where there is no room.
        for start, align, shift in ((at, "left", 8), (at - length, "right", -8)):
            end = start + length
            others = [(x[j] - left) * pixels for j in alarms if j != i]
            free = all(end < a or start > b for a, b in taken) and not any(start - 5 < o < end + 5 for o in others)
            if free and start >= 0 and end <= width - 66:
                place = axes.transData + ScaledTranslation(shift / 96, 4 / 96, axes.figure.dpi_scale_trans)
                axes.text(
                    x[i], values[i], text, color=PAGE.alert, ha=align, va="bottom", transform=place, parse_math=False
                )
                taken.append((start, end))
                break


def _shares(
    axes: Axes, report: DriftReport, values: Array, alarms: Sequence[int], labels: int, least: float, wide: bool
) -> None:
    names = [record.batch for record in report.records]
    all_x = batch_axis.places(names)
    x, y = batch_axis.light(all_x, values, _POINTS["wide" if wide else "narrow"])
    if len(alarms) <= MANY:
        for i in alarms:
            axes.axvline(all_x[i], color=PAGE.alert, lw=1.0, alpha=0.55)
    axes.plot(x, y, color=PAGE.accent, lw=1.6 if len(x) < 500 else 1.0, marker="o", ms=3.5 if len(x) < 3 else 0)
    known = values[np.isfinite(values)]
    top = max(float(known.max(initial=0.0)), least) or 1.0
    axes.set_ylim(0, top * 1.15)
    ticks = [t for t in MaxNLocator(4 if wide else 3).tick_values(0, top) if 0 <= t <= top * 1.1]
    axes.set_yticks(ticks, [_percent_tick(float(f"{t:.3g}")) for t in ticks])
    batch_axis.mark(axes, names, labels)


def _power(exponent: float) -> str:
    """A power of ten as people write it.

    >>> _power(0.0), _power(3.0), _power(-2.0), _power(12.0)
    ('1', '1,000', '0.01', '10¹²')
    """
    k = round(exponent)
    if -3 <= k <= 5:
        return f"{10.0**k:,.0f}" if k >= 0 else f"{10.0**k:.3g}"
    return "10" + str(k).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
