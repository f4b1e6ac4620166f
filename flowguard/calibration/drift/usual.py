"""How a mean over the records of a batch usually falls: its centre, and its spread at any number of records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEWEST_EXPECTED = 5
"""Expected records below which a share cannot be seen to fall."""


@dataclass(frozen=True)
class Usual:
    """The mean of n records of a batch has mean `centre` and variance `between` + `within` / n.

    Batches of different sizes are put on one scale by it before they are ranked, or a small batch would be odd for its
    size. A wrong variance costs power, not validity: it is sealed, the same for all.
    """

    centre: float
    within: float
    between: float

    @classmethod
    def fit(cls, values: Array, units: NDArray[np.int64]) -> Usual:
        """From records (n,) and the number of each one's unit; NaN left out.

        `between` by the analysis of variance (Searle, Casella & McCulloch, "Variance Components", 1992, 3.6), at least
        0; 0 with a single unit.
        """
        there = ~np.isnan(values)
        values, units = values[there], units[there]
        if not len(values):
            return cls(0.0, 1.0, 0.0)
        sizes = np.bincount(units).astype(np.float64)
        means = np.bincount(units, weights=values)[sizes > 0] / sizes[sizes > 0]
        sizes = sizes[sizes > 0]
        n, groups = float(sizes.sum()), len(sizes)
        centre = float(values.mean())
        total = float(((values - centre) ** 2).sum())
        among = float((sizes * (means - centre) ** 2).sum())
        within = (total - among) / (n - groups) if n > groups else total / max(1.0, n - 1)
        effective = n - float((sizes**2).sum()) / n
        between = (among - (groups - 1) * within) / effective if effective > 0 else 0.0
        return cls(centre, max(0.0, within), max(0.0, between))

    @classmethod
    def share(cls, hits: NDArray[np.bool_], units: NDArray[np.int64]) -> Usual:
        """Of a share: half a record is added, so that what was never there is rare and not impossible."""
        n = len(hits)
        centre = (float(np.count_nonzero(hits)) + 0.5) / (n + 1)
        return cls(centre, centre * (1 - centre), cls.fit(hits.astype(np.float64), units).between)

    def standardised(self, mean: float, n: float) -> float:
        """How many standard deviations the mean of n records lies above the centre; NaN when n is 0."""
        if not n > 0 or math.isnan(mean):
            return math.nan
        return (mean - self.centre) / math.sqrt(max(1e-12, self.between + self.within / n))

    def standardised_share(self, share: float, n: float) -> float:
        """As `standardised`; 0 for a share below the centre where fewer than 5 records were expected.

        Otherwise a batch with nothing missing would rank by its number of records alone.
        """
        value = self.standardised(share, n)
        return 0.0 if value < 0 and self.centre * n < FEWEST_EXPECTED else value

    def to_json(self) -> list[float]:
        return [self.centre, self.within, self.between]

    @classmethod
    def from_json(cls, state: Sequence[float]) -> Usual:
        return cls(*state)
