"""The generalised Pareto distribution of many samples at once: its posterior, its mean, and how well it fits.

P(excess > x) = (1 + shape x / scale)^(-1 / shape). Zhang & Stephens, "A new and efficient estimation method for the
generalized Pareto distribution", Technometrics 51 (2009).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# A shape this small is as good as 0, which the formulas divide by.
_FLAT = 1e-9
# What keeps logarithms of 0 away.
_BARELY = 1e-15


def posterior(excess: Array) -> tuple[Array, Array, Array]:
    """Zhang and Stephens' grid, (runs, grid) each: theta = -shape / scale, the likeliest shape with it, and its weight.

    Of samples (runs, n), positive and sorted in each run.
    """
    n = excess.shape[-1]
    grid = 20 + math.isqrt(n)
    quartile, most = excess[:, int(n / 4 + 0.5) - 1], excess[:, -1]
    steps = 1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    theta = _not_flat(1 / most[:, None] + steps / (3 * quartile[:, None]))
    shape = _not_flat(np.stack([np.log1p(-one[:, None] * excess).mean(-1) for one in theta.T], axis=-1))
    profile = n * (np.log(-theta / shape) - shape - 1)
    weight = np.exp(profile - profile.max(-1, keepdims=True))
    return theta, shape, weight / weight.sum(-1, keepdims=True)


def zhang_stephens(excess: Array) -> tuple[Array, Array]:
    """Shape and scale, each (runs,), at the posterior mean of theta."""
    theta, _, weight = posterior(excess)
    mean = _not_flat((weight * theta).sum(-1))
    shape = _not_flat(np.log1p(-mean[:, None] * excess).mean(-1))
    return shape, -shape / mean


def anderson_darling(excess: Array, shape: Array, scale: Array) -> Array:
    """The distance (runs,) of sorted samples (runs, n) from generalised Pareto distributions; tails count most."""
    n = excess.shape[-1]
    log_survival = -np.log1p(np.maximum(shape[:, None] * excess / scale[:, None], _BARELY - 1)) / shape[:, None]
    log_survival = np.minimum(log_survival, -_BARELY)
    log_share = np.log(-np.expm1(log_survival))
    weight = (2 * np.arange(1, n + 1) - 1) / n
    return -n - (weight * (log_share + log_survival[:, ::-1])).sum(-1)


def _not_flat(value: Array) -> Array:
    """Away from 0, of the same sign where it has one; shape and theta have opposite signs, and stay so."""
    return np.where(np.abs(value) < _FLAT, np.copysign(_FLAT, value), value)
