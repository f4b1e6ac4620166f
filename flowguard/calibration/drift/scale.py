"""A number's place among the values of calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from flowguard.calibration.drift.records import FARTHEST, Array

POINTS = 65
"""Quantiles of a number, even on the normal scale from -3 to 3: tails count, and 64 even ones would stop at 1.6 %."""


@dataclass(frozen=True, eq=False)
class Scale:
    """A fixed increasing map from a column's values to normal scores, by its quantiles at calibration.

    The rank at a value that repeats is the middle of its ranks. Beyond the outermost quantiles it is half their rank:
    one wild value counts as any other beyond the rest.
    """

    points: Array
    scores: Array
    ends: tuple[float, float]

    @classmethod
    def fit(cls, values: Array) -> Scale:
        """From values (n,) without NaN, n of any size."""
        ranks = ndtr(np.linspace(-3, 3, POINTS))
        quantiles = (
            np.quantile(np.clip(values, -FARTHEST, FARTHEST), ranks, method="inverted_cdf")
            if len(values)
            else np.zeros(POINTS)
        )
        points, first, counts = np.unique(quantiles, return_index=True, return_counts=True)
        middle = (ranks[first] + ranks[first + counts - 1]) / 2
        ends = float(ndtri(middle[0] / 2)), float(ndtri((1 + middle[-1]) / 2))
        return cls(points, ndtri(middle), ends)

    def __call__(self, values: Array) -> Array:
        """Normal scores (n,), within [-3.3, 3.3]; NaN of NaN."""
        return np.interp(values, self.points, self.scores, left=self.ends[0], right=self.ends[1])

    @property
    def median(self) -> float:
        return float(self.points[np.argmin(np.abs(self.scores))])

    def to_json(self) -> dict[str, Any]:
        return {"points": self.points.tolist(), "scores": self.scores.tolist(), "ends": list(self.ends)}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Scale:
        return cls(np.array(state["points"]), np.array(state["scores"]), tuple(state["ends"]))
