"""The step of a number whose values lie on a lattice: whole minutes, tenths of a degree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FINEST = 2**20
"""A lattice of more steps than this between the least and the greatest value is not told from a continuum."""

_REPEATED = 0.95
_ROUNDING = 16 * 2.0**-52
_SINGLE = 2.0**-23


def find_step(sample: NDArray[np.float64]) -> float | None:
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
    single = np.array_equal(values, values.astype(np.float32)) and not np.array_equal(values, np.rint(values))
    noise = (_SINGLE if single else _ROUNDING) * float(np.abs(values[[0, -1]]).max())
    # Gaps from a value amid the others, so that a single far-out one does not make all of them long.
    gaps = np.sort(np.abs(values - values[len(values) // 2]))[1:]
    step, span = float(np.diff(values).min()), float(gaps[-1])
    while step > 8 * noise and span <= FINEST * step:
        refined, error = _refine(step, gaps, noise)
        times = np.round(gaps / refined)
        rest = np.abs(gaps - refined * times)
        off = rest[rest > np.minimum(noise + error * times, refined / 4)]
        if not len(off):
            return _tidy(refined, span)
        step = float(off.min())
    return None


def _refine(step: float, gaps: NDArray[np.float64], noise: float) -> tuple[float, float]:
    """Take the rounding out of a step, and say how wrong it may still be.

    A gap of k steps that is off by rounding fixes the step k times as well; so go from short gaps to long ones.
    """
    error, reached = 2 * noise, 0.0
    for gap in gaps.tolist():
        if gap < 2 * reached:
            continue
        times = round(gap / step)
        off = noise + error * times
        if times < 1 or off > step / 4 or abs(gap - step * times) > off:
            continue
        step, error, reached = gap / times, 2 * noise / times, gap
    return step, error


def _tidy(step: float, span: float) -> float:
    """The shortest decimal that is this step as far as rounding lets one say."""
    for digits in range(1, 12):
        short = float(f"{step:.{digits}g}")
        if abs(short - step) * (span / step) <= 1e-6 * step:
            return short
    return step
