"""The error of a mean whose records come in units (days, customers) of records that are alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def variance_of_mean(values: ArrayLike, units: ArrayLike) -> tuple[float, int]:
    """The variance of the mean of `values` (n,), clustered by `units` (n,), and how many units there are.

    The linearised variance of a ratio of sums over units (Cochran, "Sampling Techniques", 3rd ed. 1977, 6.4 and 9A.6):
    for unit u with n_u records that sum to y_u, G units, N records, r = sum y_u / N,

        G / (G - 1) * sum_u (y_u - r n_u)^2 / N^2,

    and infinite where G = 1: one unit says nothing of how units differ.

    >>> variance_of_mean([0.0, 2.0, 0.0, 2.0], [1, 1, 2, 2])
    (0.0, 2)
    """
    values = np.asarray(values)
    _, places = np.unique(np.asarray(units), return_inverse=True)
    if len(places) != len(values):
        raise ValueError(f"{len(values)} values but {len(places)} units")
    sizes = np.bincount(places).astype(np.float64)
    groups = len(sizes)
    if groups < 2:
        return float("inf"), groups
    rest = np.bincount(places, weights=values) - values.mean() * sizes
    return groups / (groups - 1) * float(rest @ rest) / len(values) ** 2, groups
