"""Densities along one axis, known at some points of it: their mass, quantiles and mode."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LEAST = -700.0
_AROUND = (0.5, 0.15)


@dataclass(frozen=True, eq=False)
class Profile:
    """n densities that need not integrate to 1, as `logs` (n, k) at ascending `points` (n, k); log-linear in between.

    Nothing lies beyond the outer points. Points may repeat: a jump is two logs at one point. A row's results do not
    depend on the other rows.

    >>> grid = np.linspace(-9, 9, 400)[None]
    >>> normal = Profile.of(grid, -0.5 * grid**2)
    >>> float(normal.quantile(0.95)[0].round(3)), float(normal.log_mass[0].round(3))
    (1.645, 0.919)
    """

    points: Array
    logs: Array

    @classmethod
    def of(cls, points: Array, logs: Array) -> Profile:
        """Points in any order; of equal ones the first comes first. A log that is no number counts for nothing."""
        order = np.argsort(points, axis=1, kind="stable")
        logs = np.where(np.isnan(logs), -np.inf, logs)
        return cls(np.take_along_axis(points, order, 1), np.take_along_axis(logs, order, 1))

    def joined(self, points: Array, logs: Array) -> Profile:
        """With more points, which come after equal ones that were there."""
        return Profile.of(np.hstack([self.points, points]), np.hstack([self.logs, logs]))

    @cached_property
    def peak(self) -> Array:
        """The greatest log, (n,)."""
        return np.asarray(self.logs.max(axis=1))

    @property
    def mode(self) -> Array:
        """The first point where it is reached, (n,)."""
        return np.take_along_axis(self.points, self.logs.argmax(axis=1)[:, None], 1)[:, 0]

    @property
    def log_mass(self) -> Array:
        """log of the integral, (n,)."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.peak + np.log(self._below[:, -1]))

    @cached_property
    def _heights(self) -> Array:
        top = np.where(np.isfinite(self.peak), self.peak, 0.0)[:, None]
        return np.maximum(self.logs - top, _LEAST)

    @cached_property
    def _below(self) -> Array:
        """Mass below each point over that of the peak, (n, k)."""
        cells = _mass(np.diff(self.points, axis=1), self._heights[:, :-1], self._heights[:, 1:])
        return np.hstack([np.zeros((len(cells), 1)), np.cumsum(cells, axis=1)])

    def quantile(self, q: float | Array) -> Array:
        """The point below which the share `q` (a number, (n,) or (n, j)) of the mass lies, (n,) or (n, j)."""
        levels = np.broadcast_to(np.asarray(q, dtype=np.float64), (len(self.points),)) if np.ndim(q) < 2 else q
        flat = np.asarray(levels).reshape(len(self.points), -1)
        target = flat * self._below[:, -1:]
        cell = (self._below[:, None, :] <= target[:, :, None]).sum(axis=2) - 1
        cell = np.clip(cell, 0, self.points.shape[1] - 2)
        start, stop = (np.take_along_axis(self._below, cell + step, 1) for step in (0, 1))
        a, b = (np.take_along_axis(self._heights, cell + step, 1) for step in (0, 1))
        left, right = (np.take_along_axis(self.points, cell + step, 1) for step in (0, 1))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            part = np.clip(np.where(stop > start, (target - start) / (stop - start), 0.0), 0.0, 1.0)
            rise = b - a
            # From the higher end, where nothing cancels.
            up = 1.0 + np.log1p((1.0 - part) * np.expm1(-np.abs(rise))) / np.abs(rise)
            down = -np.log1p(part * np.expm1(-np.abs(rise))) / np.abs(rise)
            way = np.where(np.abs(rise) < 1e-9, part, np.where(rise > 0, up, down))
        found = left + np.clip(way, 0.0, 1.0) * (right - left)
        return found.reshape(np.shape(levels))

    def below(self, values: Array) -> Array:
        """The share of the mass below each of `values` (n,), in [0, 1]."""
        cell = np.clip((self.points <= values[:, None]).sum(axis=1) - 1, 0, self.points.shape[1] - 2)[:, None]
        left, right = (np.take_along_axis(self.points, cell + step, 1)[:, 0] for step in (0, 1))
        a, b = (np.take_along_axis(self._heights, cell + step, 1)[:, 0] for step in (0, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            way = np.clip(np.where(right > left, (values - left) / (right - left), 0.0), 0.0, 1.0)
            mass = np.take_along_axis(self._below, cell, 1)[:, 0] + _mass(way * (right - left), a, a + way * (b - a))
            share = np.where(self._below[:, -1] > 0, mass / self._below[:, -1], 0.5)
        return np.clip(share, 0.0, 1.0)

    def where_to_look(self, count: int) -> Array:
        """`count` further points that would tell most, (n, count): some about the mode, the others by mass."""
        inner = count - 2 * len(_AROUND)
        # Closer together in the tails, where the chords of a log that bends lose most.
        levels = 0.5 - 0.5 * np.cos(np.pi * (np.arange(inner) + 0.5) / inner)
        even = self.quantile(np.broadcast_to(levels, (len(self.points), inner)))
        # Of a jump, or a repeated point, the neighbours are those that lie apart from it.
        mode = self.mode[:, None]
        left = np.where(self.points < mode, self.points, -np.inf).max(axis=1, keepdims=True)
        right = np.where(self.points > mode, self.points, np.inf).min(axis=1, keepdims=True)
        left, right = (np.where(np.isfinite(side), side, mode) for side in (left, right))
        around = [mode + share * (side - mode) for share in _AROUND for side in (left, right)]
        return np.hstack([even, *around])


def _mass(width: Array, a: Array, b: Array) -> Array:
    """Integral over `width` of the exponential of a line from a to b."""
    rise = np.abs(b - a)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(rise < 1e-9, 1.0, -np.expm1(-rise) / rise)
    return np.asarray(width * np.exp(np.maximum(a, b)) * mean)
