"""Fronts: what a number goes through before the density sees it, with its exact log-derivative and inverse.

A front is a straight line (standard, robust) or a smooth curve to normal scores (quantile), followed by log
tails: beyond 30 deviations y becomes sign(y) * 30 * (1 + log(|y| / 30)), so that 1e300 stays finite, in order
and exact. All of it runs in float64, and |y| is carried as a logarithm where it would overflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BEND = 30.0
"""Deviations beyond which the tails are logarithmic; the derivative is continuous there."""

LARGEST = float(np.finfo(np.float64).max)
_EPS = float(np.finfo(np.float64).eps)
_NORMAL = NormalDist()

KNOTS = 60
_FEWEST_KNOTS = 8
_ROWS_PER_KNOT = 12
_OUTERMOST = 3.0
_STEEPEST = 1e8
_LEAST_RISE = 1e-9


@dataclass(frozen=True)
class Line:
    """y = (x - center) / scale."""

    center: float
    scale: float

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y, infinite where it overflows, and log dy/dx."""
        return (x - self.center) / self.scale, np.full(x.shape, -math.log(self.scale))

    def log_size(self, x: Array) -> Array:
        """log |y| for an x whose y overflows."""
        return np.log(np.abs(x / 2 - self.center / 2)) + (math.log(2) - math.log(self.scale))

    def inverse(self, y: Array) -> Array:
        return self.center + y * self.scale

    def inverse_far(self, sign: Array, log_size: Array) -> Array:
        """x for a y = sign * exp(log_size) that overflows."""
        return self.center + sign * np.exp(log_size + math.log(self.scale))


@dataclass(frozen=True, eq=False)
class Curve:
    """Monotone rational-quadratic curve through (knots, scores), straight beyond the outer knots.

    Gregory & Delbourgo, "Piecewise rational quadratic interpolation to monotonic data", IMA J. Numer. Anal. 2
    (1982): continuously differentiable, strictly increasing for any positive `slopes` at the knots, and
    inverted in closed form, which a monotone cubic (Fritsch & Carlson, SIAM J. Numer. Anal. 17, 1980) is not.
    """

    knots: Array
    scores: Array
    slopes: Array

    @cached_property
    def _widths(self) -> Array:
        return np.diff(self.knots)

    @cached_property
    def _rises(self) -> Array:
        return np.diff(self.scores)

    @cached_property
    def _log_chords(self) -> Array:
        return np.log(self._rises / self._widths)

    @cached_property
    def _entry(self) -> Array:
        """Slope at a segment's left knot over the segment's chord."""
        return self.slopes[:-1] / (self._rises / self._widths)

    @cached_property
    def _exit(self) -> Array:
        return self.slopes[1:] / (self._rises / self._widths)

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y, infinite where it overflows, and log dy/dx."""
        k = self._segment(x, self.knots)
        a, b = self._entry[k], self._exit[k]
        t = np.clip((x - self.knots[k]) / self._widths[k], 0.0, 1.0)
        tu = t * (1 - t)
        below = 1 + (a + b - 2) * tu
        y = np.minimum(self.scores[k] + self._rises[k] * (t * t + a * tu) / below, self.scores[k + 1])
        log_slope = self._log_chords[k] + np.log(b * t * t + 2 * tu + a * (1 - t) ** 2) - 2 * np.log(below)
        for end, out in ((0, x < self.knots[0]), (-1, x > self.knots[-1])):
            if out.any():
                y[out] = self.scores[end] + self.slopes[end] * (x[out] - self.knots[end])
                log_slope[out] = math.log(self.slopes[end])
        return y, log_slope

    def log_size(self, x: Array) -> Array:
        """log |y| for an x whose y overflows."""
        end = np.where(x < self.knots[0], 0, -1)
        return np.log(np.abs(x / 2 - self.knots[end] / 2)) + np.log(self.slopes[end]) + math.log(2)

    def inverse(self, y: Array) -> Array:
        k = self._segment(y, self.scores)
        a, b = self._entry[k], self._exit[k]
        height = np.clip((y - self.scores[k]) / self._rises[k], 0.0, 1.0)
        bend = height * (a + b - 2)
        linear = a - bend
        # The stable root of (1 - linear) t^2 + linear t - height = 0, 0 at height 0 and 1 at height 1. Its
        # halves are both zero only at height 0 with a flat entry.
        halves = linear + np.sqrt(np.maximum(linear * linear + 4 * (1 - linear) * height, 0.0))
        t = np.divide(2 * height, halves, out=np.zeros_like(height), where=halves > 0)
        x = self.knots[k] + self._widths[k] * np.clip(t, 0.0, 1.0)
        for end, out in ((0, y < self.scores[0]), (-1, y > self.scores[-1])):
            if out.any():
                x[out] = self.knots[end] + (y[out] - self.scores[end]) / self.slopes[end]
        return x

    def inverse_far(self, sign: Array, log_size: Array) -> Array:
        """x for a y = sign * exp(log_size) that overflows."""
        end = np.where(sign < 0, 0, -1)
        return self.knots[end] + sign * np.exp(log_size - np.log(self.slopes[end]))

    def _segment(self, values: Array, edges: Array) -> NDArray[np.intp]:
        return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)


@dataclass(frozen=True, eq=False)
class Front:
    """A line or a curve and the log tails behind it.

    >>> front = Front("standard", Line(center=10.0, scale=2.0))
    >>> y, log_slope = front.forward(np.array([10.0, 14.0, 1e300]))
    >>> y[:2].tolist(), bool(np.isfinite(y[2]))
    ([0.0, 2.0], True)
    >>> front.inverse(y[:2]).tolist()
    [10.0, 14.0]
    """

    kind: str
    shape: Line | Curve

    def forward(self, x: Array) -> tuple[Array, Array]:
        """y and log dy/dx of finite `x`, both finite."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            y, log_slope = self.shape.forward(x)
            far = np.abs(y) > BEND
            if far.any():
                straight = y[far]
                log_size = np.log(np.abs(straight))
                over = np.isinf(straight)
                if over.any():
                    log_size[over] = self.shape.log_size(x[far][over])
                excess = log_size - math.log(BEND)
                y[far] = np.copysign(BEND * (1 + excess), straight)
                log_slope[far] -= excess
        return y, log_slope

    def inverse(self, y: Array) -> Array:
        """x of `y`; where x leaves float64 it is the largest float64 with its sign, never infinite."""
        shape = np.shape(y)
        y = np.asarray(y, dtype=np.float64).ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            far = np.abs(y) > BEND
            straight = y.copy()
            log_size = np.abs(y[far]) / BEND - 1 + math.log(BEND)
            straight[far] = np.copysign(np.exp(log_size), y[far])
            x = self.shape.inverse(straight)
            over = np.isinf(straight[far])
            if over.any():
                rows = np.flatnonzero(far)[over]
                x[rows] = self.shape.inverse_far(np.sign(y[rows]), log_size[over])
        return np.clip(x, -LARGEST, LARGEST).reshape(shape)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; floats survive exactly."""
        if isinstance(self.shape, Line):
            return {"kind": self.kind, "center": self.shape.center, "scale": self.shape.scale}
        curve = {"knots": self.shape.knots, "scores": self.shape.scores, "slopes": self.shape.slopes}
        return {"kind": self.kind, **{name: values.tolist() for name, values in curve.items()}}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Front:
        if "center" in state:
            return cls(state["kind"], Line(float(state["center"]), float(state["scale"])))
        curve = [np.array(state[name], dtype=np.float64) for name in ("knots", "scores", "slopes")]
        return cls(state["kind"], Curve(*curve))


def standard_front(mean: float, deviation: float) -> Front | None:
    """Mean and standard deviation; None where they overflowed or vanished."""
    if math.isfinite(mean) and math.isfinite(deviation) and deviation > 0:
        return Front("standard", Line(mean, deviation))
    return None


def robust_front(sample: Array) -> Front:
    """Median and IQR / 1.349 of a sorted sample of at least two distinct values."""
    return Front("robust", Line(float(quantile(sample, 0.5)), spread(sample)))


def quantile_front(sample: Array) -> Front | None:
    """A curve that takes a sorted sample to normal scores; None where it has too few distinct quantiles.

    Knots lie at evenly spaced normal scores, no further out than six rows of the sample, at most one for 12
    rows. Tied quantiles share a knot at their mean score. Slopes stay within a factor of 1e8 of their median.
    Slopes at inner knots are the weighted harmonic means of Fritsch & Butland (SIAM J. Sci. Stat. Comput. 5,
    1984).
    """
    n = len(sample)
    count = min(KNOTS, n // _ROWS_PER_KNOT)
    # Beyond 1e300 or within 1e-290 widths and slopes would leave float64; a line behaves there.
    if count < _FEWEST_KNOTS or not max(abs(sample[0]), abs(sample[-1])) < 1e300:
        return None
    outermost = min(_OUTERMOST, _NORMAL.inv_cdf(1 - 6 / n))
    wanted = np.linspace(-outermost, outermost, count)
    values = quantile(sample, np.array([_NORMAL.cdf(score) for score in wanted]))
    knots, scores = _merge_ties(values, wanted)
    if len(knots) < _FEWEST_KNOTS or not np.diff(knots).min() > 1e-290:
        return None
    widths = np.diff(knots)
    chords = np.diff(scores) / widths
    typical = float(np.median(chords))
    bounded = np.clip(chords, typical / _STEEPEST, typical * _STEEPEST)
    if not np.array_equal(bounded, chords):
        anchor = int(np.argmin(np.abs(scores)))
        climbed = np.concatenate([[0.0], np.cumsum(bounded * widths)])
        knots, scores = _merge_level(knots, climbed - climbed[anchor] + scores[anchor])
        if len(knots) < _FEWEST_KNOTS:
            return None
        widths = np.diff(knots)
        chords = np.diff(scores) / widths
    share = (2 * widths[1:] + widths[:-1]) / (3 * widths[1:] + 3 * widths[:-1])
    inner = 1 / (share / chords[:-1] + (1 - share) / chords[1:])
    slopes = np.concatenate([chords[:1], inner, chords[-1:]])
    return Front("quantile", Curve(knots, scores, slopes))


def _merge_ties(values: Array, scores: Array) -> tuple[Array, Array]:
    knots: list[float] = []
    groups: list[list[float]] = []
    for value, score in zip(values.tolist(), scores.tolist(), strict=True):
        if knots and value - knots[-1] <= 16 * _EPS * max(abs(value), abs(knots[-1])):
            groups[-1].append(score)
        else:
            knots.append(value)
            groups.append([score])
    return np.array(knots), np.array([sum(group) / len(group) for group in groups])


def _merge_level(knots: Array, scores: Array) -> tuple[Array, Array]:
    """Drop knots whose score all but equals the last one kept: too close together for a bounded slope."""
    kept = [0]
    for place in range(1, len(knots)):
        if scores[place] - scores[kept[-1]] > _LEAST_RISE:
            kept.append(place)
    return knots[kept], scores[kept]


def quantile(sample: Array, q: float | Array) -> Array:
    """Quantiles of a sorted sample, linear between its values, without overflow."""
    place = np.asarray(q) * (len(sample) - 1)
    low = np.floor(place).astype(np.intp)
    weight = place - low
    high = np.minimum(low + 1, len(sample) - 1)
    return np.asarray((1 - weight) * sample[low] + weight * sample[high])


def spread(sample: Array) -> float:
    """A positive scale of a sorted sample: IQR / 1.349, or a wider interval where half of it is tied."""
    for tail in (0.25, 0.1, 0.05, 0.01, 0.001, 0.0):
        half = float(quantile(sample, 1 - tail) / 2 - quantile(sample, tail) / 2)
        # The normal's own width between these quantiles; the whole range counts as six deviations.
        deviations = 2 * _NORMAL.inv_cdf(1 - tail) if tail else 6.0
        scale = half / deviations * 2
        if scale > 0:
            return min(scale, LARGEST / 4)
    return float(np.finfo(np.float64).tiny)
