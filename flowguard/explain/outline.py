"""An outline of a table: where the values of a column lie, and where it would be expected given the others.

It only says where to look: what is found there is judged by the density.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from flowguard.density import Inputs

Array = NDArray[np.float64]

LEVELS = (0.001, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 0.999)
_FARTHEST = 8.0
_TILE = 64


def axis_values(inputs: Inputs, numbers: NDArray[np.intp], integers: NDArray[np.intp]) -> Array:
    """Numbers and then integers on the axis of the density, (n, m + j), NaN where there is no value.

    An integer lies in the middle of its step.
    """
    codes = inputs.codes.numpy()
    middle = inputs.lower.double().numpy() + 0.5 * np.exp(inputs.log_width.double().numpy())
    values = np.hstack([inputs.x.double().numpy(), middle])
    return np.where(codes[:, np.concatenate([numbers, integers])] == 0, values, np.nan)


@dataclass(frozen=True, eq=False)
class Outline:
    """Quantiles of each number and integer, and the Gaussian of all of them with the numeric context.

    `quantiles` (m + j, `LEVELS`), `center` (D,) and `precision` (D, D), D = m + j + context, on the density's axis.

    Given all others, column i has mean v_i - (P v)_i / P_ii and deviation P_ii^-1/2, where v is what the record has
    less the center and P the precision (Lauritzen, Graphical Models, 1996, section 5.1); a pair has v - P_ab^-1 (P v).
    """

    quantiles: Array
    center: Array
    precision: Array

    @classmethod
    def fit(cls, values: Array, context: Array) -> Outline:
        """Of `values` (n, m + j), NaN where there is none, and numeric context (n, c)."""
        n, count = values.shape
        columns = [column[np.isfinite(column)] for column in values.T]
        normal = np.array([-3.1, -2.05, -1.28, -0.52, 0.0, 0.52, 1.28, 2.05, 3.1])
        quantiles = np.array([np.quantile(c, LEVELS) if len(c) else normal for c in columns]).reshape(
            count, len(LEVELS)
        )
        every = np.hstack([values, context])
        seen = np.isfinite(every)
        center = np.where(seen, every, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        # One absurd record must not decide how columns go together.
        apart = np.clip(np.where(seen, every - center, 0.0), -_FARTHEST, _FARTHEST)
        covariance = apart.T @ apart / max(n, 1)
        shrink = 0.2 * len(center) / (n + len(center))
        own = np.diag(covariance)
        covariance = (1 - shrink) * covariance + np.diag(shrink * own + 1e-4 * np.maximum(own, 1e-2))
        return cls(quantiles, center, np.linalg.inv(covariance))

    @classmethod
    def plain(cls, columns: int, context: int) -> Outline:
        """Of standard normal columns, which nothing ties together."""
        width = columns + context
        return cls(
            Outline.fit(np.full((1, columns), np.nan), np.zeros((1, 0))).quantiles, np.zeros(width), np.eye(width)
        )

    @cached_property
    def deviations(self) -> Array:
        """The deviation of each number and integer given all others, (m + j,)."""
        return np.asarray(1 / np.sqrt(np.diag(self.precision)))[: len(self.quantiles)]

    def off(self, values: Array, context: Array) -> Array:
        """P v, (n, D): what a record's values pull at, 0 for those that it lacks."""
        every = np.hstack([values, context]) - self.center
        every = np.where(np.isfinite(every), every, 0.0)
        found = []
        for start in range(0, len(every), _TILE):
            # The same shape in every product, for the same bits whichever records are beside it.
            piece = every[start : start + _TILE]
            full = np.zeros((_TILE, every.shape[1]))
            full[: len(piece)] = piece
            found.append((full @ self.precision)[: len(piece)])
        return np.concatenate(found) if found else every

    def given_others(self, values: Array, off: Array) -> Array:
        """The mean of each number and integer given all others, (n, m + j); `off` as of `off`."""
        count = len(self.quantiles)
        held = np.where(np.isfinite(values), values, self.center[:count])
        return held - off[:, :count] * self.deviations**2

    def given_without(self, values: Array, off: Array, a: int, b: int) -> tuple[Array, Array]:
        """The means of two of them given the rest without both, (n,) each."""
        count = len(self.quantiles)
        held = np.where(np.isfinite(values), values, self.center[:count])[:, [a, b]]
        block = np.linalg.inv(self.precision[np.ix_([a, b], [a, b])])
        pull = off[:, [a, b]]
        means = held - np.stack(
            [pull[:, 0] * block[0, 0] + pull[:, 1] * block[0, 1], pull[:, 0] * block[1, 0] + pull[:, 1] * block[1, 1]],
            1,
        )
        return means[:, 0], means[:, 1]

    def to_arrays(self) -> dict[str, Array]:
        """float64 arrays, from which `from_arrays` makes the same outline bit for bit."""
        return {"quantiles": self.quantiles, "center": self.center, "precision": self.precision}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Outline:
        """The outline that `to_arrays` wrote."""
        center = np.asarray(arrays["center"])
        quantiles = np.asarray(arrays["quantiles"]).reshape(-1, len(LEVELS))
        return cls(quantiles, center, np.asarray(arrays["precision"]).reshape(len(center), len(center)))
