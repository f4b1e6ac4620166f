"""The step of a number whose values lie on a lattice: whole minutes, tenths of a degree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FINEST = 2**32
"""A lattice of more steps than this between its least and greatest value is taken for a continuum."""

_REPEATED = 0.95
_ROUNDING = 16 * 2.0**-52
_SINGLE = 2.0**-23


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
        if abs(short - step) * (span / step) <= 1e-6 * step:
            return short
    return step
