"""How the p-values of a batch are distributed: of ordinary records a share a has one of a or less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LEVELS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Fine where flags are decided, coarse where only the shape of the rest is told."""


@dataclass(frozen=True)
class PValues:
    """Of each level, as text, the records with a p-value up to it; and the sum of all p-values.

    The last level is 1, so that its count is that of all scored records.

    >>> PValues.of(np.array([0.0004, 0.3, 0.3, 1.0]), levels=(0.001, 0.5, 1.0))
    PValues(up_to={'0.001': 1, '0.5': 3, '1': 4}, sum=1.6004)
    """

    up_to: Mapping[str, int]
    sum: float

    @classmethod
    def of(cls, p_values: np.ndarray, *, levels: tuple[float, ...] = LEVELS) -> PValues:
        """The histogram of p-values, (n,), whatever their order."""
        counts = np.searchsorted(np.sort(p_values), levels, side="right")
        # Rounded, because the last digits of a sum depend on the order.
        return cls({f"{level:g}": int(count) for level, count in zip(levels, counts)}, round(float(p_values.sum()), 6))
