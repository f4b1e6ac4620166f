"""Since when, how far, and whether at once or slowly: what to make of a channel's statistics once it has alarmed.

Estimates, not tests: the martingale decides that something changed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LOOK_BACK = 120
"""Batches within which the onset of a change is looked for."""

LEAST_SCALE = 0.25
"""Usual standard deviations. What has not varied at all so far (a share of 0) is no measure of how far it moved."""

YEAR = 365.25

SLOW_DAYS = 20
"""A season takes longer than that to be seen to turn."""

SEASONS = 800
"""Batches that are looked at: two years of days."""

EVIDENT = 2.0
"""Nats by which slow has to be likelier than at once: a wave has more freedom, and fits a small step as well."""

_TINY = 1e-12


def onset(values: Array) -> int:
    """The place of the first batch after the likeliest change of mean, by least squares; NaN left out.

    >>> onset(np.array([0.0, 0.1, -0.1, 0.0, 5.0, 5.1]))
    4
    """
    places = np.flatnonzero(~np.isnan(values))
    if len(places) < 2:
        return len(values) - 1
    known = values[places]
    n = len(known)
    # A few wild batches must not be the change.
    bounded = np.clip(known, *_bounds(known))
    splits = np.arange(max(1, n - LOOK_BACK), n)
    before = np.cumsum(bounded)[splits - 1]
    gap = (bounded.sum() - before) / (n - splits) - before / splits
    return int(places[splits[np.argmax(gap**2 * splits * (n - splits))]])


def effect(values: Array, start: int) -> float:
    """How far the mean from `start` on lies from that before, in standard errors; 0 where one of both is empty."""
    before, after = values[:start], values[start:]
    before, after = before[~np.isnan(before)], after[~np.isnan(after)]
    if not len(before) or not len(after):
        return 0.0
    scale = max(LEAST_SCALE, float(before.std(ddof=1)) if len(before) > 1 else 1.0)
    return float(after.mean() - before.mean()) / (scale * math.sqrt(1 / len(before) + 1 / len(after)))


def above(values: Array, start: int) -> float:
    """How far the values from `start` on lie above those before together, in standard errors of usual batches.

    As `effect`, but the scale is the sealed one; where there are none before, above calibration, which is at 0. NaN
    where there are none after.
    """
    before, after = values[:start], values[start:]
    before, after = before[~np.isnan(before)], after[~np.isnan(after)]
    if not len(after):
        return math.nan
    usual = float(before.mean()) if len(before) else 0.0
    return (float(after.mean()) - usual) * math.sqrt(len(after))


def pooled(shares: Array, records: Array, start: int, stop: int | None = None) -> float:
    """The share of all records of the batches from `start` to `stop` together; NaN where none of them has one.

    >>> round(pooled(np.array([0.5, 0.0, 0.1, np.nan]), np.array([10.0, 300.0, 100.0, 50.0]), 1), 6)
    0.025
    """
    part, sizes = shares[start:stop], records[start:stop]
    there = ~np.isnan(part) & (sizes > 0)
    return float(part[there] @ sizes[there] / sizes[there].sum()) if there.any() else math.nan


def slow(days: Array, values: Array) -> bool:
    """Whether values moved slowly, as a season does, rather than at once.

    By least squares: a step at the likeliest batch against a line that bends at the likeliest one 20 days ago or more,
    as no season turns faster, and against a yearly wave; slow has to be clearly likelier. Of the last 800 batches, NaN
    left out; False with fewer than 8 of them, or 20 days.
    """
    there = ~np.isnan(values) & ~np.isnan(days)
    t, y = days[there][-SEASONS:], values[there][-SEASONS:]
    n = len(y)
    if n < 8 or np.ptp(t) < SLOW_DAYS:
        return False
    order = np.argsort(t, kind="stable")
    t, y = t[order], y[order]
    bends = np.arange(1, n - 2)
    steps = min(_rest(y, (np.arange(n) >= bend).astype(np.float64)[:, None]) for bend in bends.tolist())
    early = [bend for bend in bends.tolist() if t[-1] - t[bend - 1] >= SLOW_DAYS]
    smooth = min((_rest(y, np.maximum(0.0, t - t[bend - 1])[:, None]) for bend in early), default=math.inf)
    angle = 2 * math.pi * t / YEAR
    smooth = min(smooth, _rest(y, np.stack([np.cos(angle), np.sin(angle)], axis=1)))
    return n * math.log(max(steps, _TINY) / max(smooth, _TINY)) > 2 * EVIDENT


def _rest(y: Array, x: Array) -> float:
    """The sum of squares that a constant and x leave."""
    x = x - x.mean(axis=0)
    y = y - y.mean()
    if x.shape[1] == 1:
        square = float(x[:, 0] @ x[:, 0])
        return float(y @ y) - (float(x[:, 0] @ y) ** 2 / square if square > 0 else 0.0)
    fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(((y - fitted) ** 2).sum())


def _bounds(values: Array) -> tuple[float, float]:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    reach = 3 * max(LEAST_SCALE, float(high - low))
    return float(middle) - reach, float(middle) + reach
