"""The figures of the pages: scores of a batch, flagged share and scores over the batches of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from flowguard.explain.words import number
from flowguard.reports import batch_axis
from flowguard.reports.canvas import PAGE, Ink, drawing, label, svg
from flowguard.reports.page import BatchSummary, ScoreHistogram
from flowguard.reports.sentences import rate

#: Above this many batches a bar is thinner than a pixel: bars become lines, without links.
MANY = 400


def score_plot(histogram: ScoreHistogram, threshold: float, *, width: int = 980, height: int = 270) -> str:
    """The batch's scores over the calibration distribution, shares on a log scale: an ``<svg>``."""
    with drawing(width, height, f"scores{width}") as (figure, axes):
        seen = np.concatenate([histogram.batch, histogram.reference])
        floor = math.log10(seen[seen > 0].min()) - 0.25 if (seen > 0).any() else -3.0
        heights = [np.log10(np.maximum(h, 10**floor)) for h in (histogram.reference, histogram.batch)]
        left, right = float(histogram.edges[0]), float(histogram.edges[-1])
        if math.isfinite(threshold) and left <= threshold <= right:
            axes.axvspan(threshold, right, color=PAGE.alert, alpha=0.08, lw=0)
            axes.axvline(threshold, color=PAGE.alert, lw=1.4, ls=(0, (4, 3)))
            label(axes, threshold, 1.0, f"threshold {number(threshold)}", PAGE.alert)
        axes.stairs(heights[0], histogram.edges, baseline=floor, fill=True, color=PAGE.ordinary)
        axes.stairs(heights[1], histogram.edges, baseline=floor, color=PAGE.accent, lw=1.8)
        if histogram.batch_above:
            beyond = f"{histogram.batch_above:,} beyond →"
            label(axes, right, 0.9, beyond, PAGE.text)
        decades = [d for d in range(-6, 1) if floor <= d]
        axes.set(xlim=(left, right), ylim=(floor, max(float(max(h.max() for h in heights)), -0.3) + 0.35))
        axes.set_yticks(decades, [_percent_tick(10.0**d) for d in decades])
        _number_ticks(axes, left, right, max(3, width // 130))
        return svg(figure)


def flag_plot(batches: Sequence[BatchSummary], asked: float, *, width: int = 960, height: int = 250) -> str:
    """Flagged share per batch against the asked level, each bar a link to its page: an ``<svg>``."""
    with drawing(width, height, f"flags{width}") as (figure, axes):
        titles = draw_flags(axes, batches, asked, PAGE, links=True, labels=max(3, width // 130))
        return svg(figure, titles)


def trend_plot(batches: Sequence[BatchSummary], threshold: float, *, width: int = 960, height: int = 250) -> str:
    """Median score and the band from 5 % to 95 % per batch, with the threshold: an ``<svg>``."""
    with drawing(width, height, f"trend{width}") as (figure, axes):
        names = [b.batch for b in batches]
        x = batch_axis.places(names)
        low, mid, high = (np.array([getattr(b, q) for b in batches], dtype=float) for q in ("q05", "median", "q95"))
        axes.fill_between(x, low, high, color=PAGE.accent, alpha=0.18, lw=0)
        axes.plot(x, mid, color=PAGE.accent, lw=1.8, marker="o", ms=3.5 if len(batches) < 3 else 0)
        shown = np.concatenate([low, high, [threshold]])
        shown = shown[np.isfinite(shown)]
        bottom, top = (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 1.0)
        room = 0.12 * (top - bottom or 1.0)
        axes.set_ylim(bottom - room, top + 1.6 * room)
        if math.isfinite(threshold):
            axes.axhline(threshold, color=PAGE.alert, lw=1.4, ls=(0, (4, 3)))
        batch_axis.mark(axes, names, max(3, width // 130))
        ticks = MaxNLocator(5).tick_values(bottom, top)
        ticks = [t for t in ticks if bottom - room <= t <= top + room]
        axes.set_yticks(ticks, [number(float(t)) for t in ticks])
        return svg(figure)


def draw_flags(
    axes: Axes, batches: Sequence[BatchSummary], asked: float, ink: Ink, *, links: bool, labels: int
) -> dict[str, str]:
    names = [b.batch for b in batches]
    x = batch_axis.places(names)
    shares = np.array([b.share for b in batches], dtype=float)
    top = float(np.nanmax(shares, initial=asked if math.isfinite(asked) else 0.0))
    scale = (lambda s: _stretched(s, asked)) if log_scale(batches, asked) else (lambda s: s)
    heights = np.array([scale(s) if math.isfinite(s) else 0.0 for s in shares])
    titles: dict[str, str] = {}
    if len(batches) > MANY:
        # One broken line: a collection of thousands takes seconds to write.
        foot_to_head = np.stack([np.zeros_like(heights), heights, np.full_like(heights, np.nan)], axis=1)
        axes.plot(np.repeat(x, 3), foot_to_head.ravel(), color=ink.accent, lw=0.8)
    else:
        for i, (batch, bar) in enumerate(zip(batches, axes.bar(x, heights, width=0.72, color=ink.accent, lw=0))):
            if links:
                bar.set_gid(f"bar-{i}")
                bar.set_url(batch.href or None)
                titles[f"bar-{i}"] = f"{batch.batch}: {rate(batch.share)} ({batch.flagged:,} of {batch.scored:,})"
    if math.isfinite(asked):
        axes.axhline(scale(asked), color=ink.alert, lw=1.4, ls=(0, (4, 3)))
    axes.set_ylim(0, scale(top) * 1.18 or 1.0)
    if not log_scale(batches, asked):
        ticks = [t for t in MaxNLocator(5).tick_values(0, top) if 0 <= t <= top * 1.1]
    else:
        ticks = [0.0] + [asked * 10**k for k in range(8) if asked * 10**k <= top * 1.05]
    axes.set_yticks([scale(t) for t in ticks], [_percent_tick(t) for t in ticks])
    batch_axis.mark(axes, names, labels)
    return titles


def log_scale(batches: Sequence[BatchSummary], asked: float) -> bool:
    """Whether shares lie so far above the asked level that its line would vanish on a linear scale."""
    return bool(asked > 0 and any(b.share > 25 * asked for b in batches))


def _stretched(share: float, asked: float) -> float:
    return share / asked if share <= asked else 1.0 + math.log10(share / asked)


def _number_ticks(axes: Axes, low: float, high: float, labels: int) -> None:
    ticks = [t for t in MaxNLocator(labels).tick_values(low, high) if low <= t <= high]
    axes.set_xticks(ticks, [number(float(t)) for t in ticks])


def _percent_tick(share: float) -> str:
    return f"{share * 100:.6g} %"
