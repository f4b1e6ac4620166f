"""What the mix of contexts explains of scores, and what is left of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.drift.records import Array
from flowguard.calibration.drift.scale import Scale
from flowguard.calibration.drift.usual import Usual

RIDGE = 1e-3
"""Of the records, per coefficient: enough that columns which follow from each other have coefficients."""


@dataclass(frozen=True, eq=False)
class Explained:
    """Level and spread of scores, less what the batch's mix of contexts makes of them.

    Winter flights may have higher scores than summer flights under a density that is right for both: noisier contexts
    have lower densities. A batch with more of them is no news about p(features | context), so the mean score that its
    mix leads to is taken off, by least squares on calibration records. As that is linear, the means of the mix are all
    that a batch needs. What least squares misses costs power or a wrong name, never validity: it is sealed.

    `means` (p,) and `squares` (p,) are the coefficients of scores and their squares, 1 first.
    """

    scale: Scale
    means: Array
    squares: Array
    level: Usual
    spread: Usual

    @classmethod
    def fit(cls, values: Array, design: Array, units: NDArray[np.int64]) -> Explained:
        """From `values` (n,) with NaN left out, the contexts' design (n, p) and each record's unit."""
        there = ~np.isnan(values)
        scale = Scale.fit(values[there])
        scores, units = scale(values[there]), units[there]
        x = np.concatenate([np.ones((len(scores), 1)), design[there]], axis=1)
        penalty = np.full(x.shape[1], RIDGE * max(1, len(x)))
        penalty[0] = 0.0 if len(x) else 1.0
        both = np.linalg.solve(x.T @ x + np.diag(penalty), x.T @ np.stack([scores, scores**2], axis=1))
        expected, square = (x @ both).T
        # As `read` has it: about the mean of the record's own unit.
        sizes = np.maximum(1, np.bincount(units))
        own = (np.bincount(units, weights=scores) / sizes)[units]
        mix = (np.bincount(units, weights=expected) / sizes)[units]
        level = Usual.fit(scores - expected, units)
        # Sums over a column of a matrix have other bits than those over what JSON gives back.
        means, squares = np.ascontiguousarray(both.T)
        return cls(scale, means, squares, level, Usual.fit((scores - own) ** 2 - square + mix**2, units))

    def read(self, values: Array, design_mean: Array) -> tuple[float, float]:
        """The statistics of level and spread of a batch; NaN for no and for fewer than two values."""
        scores = self.scale(values[~np.isnan(values)])
        n = len(scores)
        if not n:
            return math.nan, math.nan
        x = np.concatenate([np.ones(1), design_mean])
        expected = float(x @ self.means)
        level = self.level.standardised(float(scores.mean()) - expected, n)
        if n < 2:
            return level, math.nan
        rest = float(scores.var(ddof=1)) - (float(x @ self.squares) - expected**2)
        return level, self.spread.standardised(rest, n)

    def to_json(self) -> dict[str, Any]:
        return {
            "scale": self.scale.to_json(),
            "means": self.means.tolist(),
            "squares": self.squares.tolist(),
            "level": self.level.to_json(),
            "spread": self.spread.to_json(),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Explained:
        means, squares = (np.array(state[name]) for name in ("means", "squares"))
        level, spread = (Usual.from_json(state[name]) for name in ("level", "spread"))
        return cls(Scale.from_json(state["scale"]), means, squares, level, spread)
