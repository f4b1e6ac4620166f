"""The step of a number whose values lie on a lattice: whole minutes, tenths of a degree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FINEST = 2**32
"""A lattice of more steps than this between its least and greatest value is taken for a continuum."""

FAR = 2.0**48
"""Steps from zero beyond which a float64 cannot be told from a point of the lattice: every value counts as one."""

_REPEATED = 0.95
_ROUNDING = 16 * 2.0**-52
_SINGLE = 2.0**-23
_TIDY = 1e-6


@dataclass(frozen=True)
class Lattice:
    """The points offset + k step, k whole.

    A value is a point when it is off the nearest one by at most rounding * |value| + slack. `rounding` is the least
    that the data needs: 0 for whole numbers and other exact ones, 32 units in the last place of float64, what a step
    found to a millionth drifts by, or two units of float32; `slack` is that share of the greatest value at the fit.
    Beyond 2^48 steps every value is a point.

    >>> minutes = Lattice.of(np.array([0.5, 5.5, 5.5, 20.5]))
    >>> minutes.step, minutes.offset, minutes.holds(np.array([10.5, -4.5, 11.5])).tolist()
    (5.0, 0.5, [True, True, False])
    >>> minutes.nearest(np.array([11.5, 8.1])).tolist()
    [10.5, 10.5]
    """

    step: float
    offset: float
    rounding: float
    slack: float

    @classmethod
    def of(cls, sample: Array) -> Lattice | None:
        """The lattice of a sorted sample; None where it has no step."""
        step = find_step(sample)
        if step is None:
            return None
        values, counts = np.unique(sample, return_counts=True)
        # The commonest value is a point also where a few odd values lie between the points.
        anchor = float(values[np.argmax(counts)])
        offset = float(np.mod(anchor, step))
        if min(offset, step - offset) <= _ROUNDING * abs(anchor):
            offset = 0.0
        greatest = float(np.abs(sample[[0, -1]]).max())
        drift = 2 * _TIDY * step / float(sample[-1] - sample[0])
        roundings = (0.0, 2 * _ROUNDING, max(2 * _ROUNDING, drift), 2 * _SINGLE)
        fits = [cls(step, offset, rounding, rounding * greatest) for rounding in roundings]
        held = [int(fit.holds(sample).sum()) for fit in fits]
        return fits[held.index(max(held))]

    def places(self, values: Array) -> Array:
        """k of the nearest point, a whole float64; meaningless beyond 2^48 steps."""
        return np.rint(values / self.step - self.offset / self.step)

    def holds(self, values: Array) -> NDArray[np.bool_]:
        """Which finite `values` are points."""
        with np.errstate(over="ignore", invalid="ignore"):
            gaps = np.abs(values - (self.offset + self.places(values) * self.step))
            near = gaps <= self.rounding * np.abs(values) + self.slack
            return np.asarray(near | self._far(values))

    def nearest(self, values: Array) -> Array:
        """The nearest point of each finite value."""
        with np.errstate(over="ignore", invalid="ignore"):
            points = self.offset + self.places(values) * self.step
            return np.where(self._far(values) | ~np.isfinite(points), values, points)

    def edges(self, values: Array) -> tuple[Array, Array]:
        """Half a step below and above the nearest point; a point's upper edge has the bits of the next one's lower.

        Beyond 2^48 steps, where half a step may be less than rounding, both are the value itself.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            places = self.places(values)
            lower = self.offset + (places - 0.5) * self.step
            upper = self.offset + (places + 0.5) * self.step
            far = self._far(values) | ~np.isfinite(lower) | ~np.isfinite(upper)
            return np.where(far, values, lower), np.where(far, values, upper)

    def _far(self, values: Array) -> NDArray[np.bool_]:
        return np.asarray(np.abs(values) / FAR >= self.step)

    def to_dict(self) -> dict[str, Any]:
        return {"step": self.step, "offset": self.offset, "rounding": self.rounding, "slack": self.slack}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Lattice:
        return cls(state["step"], state["offset"], state["rounding"], state["slack"])


def find_step(sample: Array) -> float | None:
    """The largest step h such that all values are offset + whole multiples of h; None for a continuum.

    `sample` is sorted. Where values that repeat make up nearly all of it, they alone decide: a lattice with a
    few odd values between its points still has spikes that must be spread. The step is found by Euclid's
    algorithm on the gaps, with the rounding error of the values as tolerance.

    >>> find_step(np.array([1.0, 1.5, 3.0, 4.5]))
    0.5
    >>> find_step(np.array([0.1, 0.2, 0.4, 0.8]))
    0.1
    >>> find_step(np.sqrt(np.arange(1.0, 50.0))) is None
    True
    """
    values, counts = np.unique(sample, return_counts=True)
    repeated = values[counts > 1]
    if len(repeated) > 1 and counts[counts > 1].sum() >= _REPEATED * len(sample):
        values = repeated
    # Twice the range must be a number, and the least difference a normal one.
    if len(values) < 2 or not np.abs(values[[0, -1]]).max() < 1e300:
        return None
    with np.errstate(over="ignore"):
        single = np.array_equal(values, values.astype(np.float32)) and not np.array_equal(values, np.rint(values))
    for rounding in (_SINGLE, _ROUNDING) if single else (_ROUNDING,):
        step = _decimal(values, rounding) or _euclid(values, rounding)
        if step is not None:
            return step
    return None


def _decimal(values: Array, rounding: float) -> float | None:
    """The common step of numbers of a few decimals, exactly; None where they have more than a few."""
    for digits in range(10):
        scaled = values * 10.0**digits
        unsure = rounding * np.abs(scaled)
        if unsure.max() > 1 / 8:
            return None
        whole = np.rint(scaled)
        if (np.abs(scaled - whole) <= unsure).all():
            step = int(np.gcd.reduce(np.diff(whole.astype(np.int64))))
            return step / 10**digits if whole[-1] - whole[0] <= FINEST * step else None
    return None


def _euclid(values: Array, rounding: float) -> float | None:
    """The common step of values that are each off by at most a part `rounding`, where that can be told."""
    # Gaps from a value amid the others, so that a single far-out one does not make all of them long.
    middle = values[len(values) // 2]
    gaps = np.abs(values - middle)
    order = np.argsort(gaps)[1:]
    gaps, noise = gaps[order], rounding * (np.abs(values) + abs(middle))[order]
    closest = int(np.argmin(np.diff(values)))
    step = float(values[closest + 1] - values[closest])
    error = rounding * float(abs(values[closest + 1]) + abs(values[closest]))
    while step > 8 * error and gaps[-1] <= FINEST * step:
        step, error = _refine(step, error, gaps, noise)
        times = np.round(gaps / step)
        rest, unsure = np.abs(gaps - step * times), noise + error * times
        off = np.where(rest > unsure, rest, np.inf)
        least = int(np.argmin(off))
        if np.isinf(off[least]):
            return _tidy(step, float(gaps[-1])) if unsure.max() < step / 8 else None
        step, error = float(off[least]), float(unsure[least])
    return None


def _refine(step: float, error: float, gaps: Array, noise: Array) -> tuple[float, float]:
    """Take the rounding out of a step, and say how wrong it may still be.

    A gap of k steps that is off by rounding fixes the step k times as well; so go from short gaps to long ones.
    """
    reached = 0.0
    for gap, own in zip(gaps.tolist(), noise.tolist(), strict=True):
        if gap < 2 * reached:
            continue
        times = round(gap / step)
        off = own + error * times
        if times < 1 or off > step / 4 or abs(gap - step * times) > off:
            continue
        step, error, reached = gap / times, min(error, own / times), gap
    return step, error


def _tidy(step: float, span: float) -> float:
    """The shortest decimal that is this step as far as rounding lets one say."""
    for digits in range(1, 12):
        short = float(f"{step:.{digits}g}")
        if abs(short - step) * (span / step) <= _TIDY * step:
            return short
    return step
