"""The score of a few odd columns among many: higher criticism."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.parts import Parts
from flowguard.calibration.scores.column_ranks import ColumnRanks

Array = NDArray[np.float64]

_LEAST = 1e-300  # 1 - p is held here: a rank of 1 is as ordinary as can be, and still a number


@dataclass(frozen=True, eq=False)
class HigherCriticism(ColumnRanks):
    """asinh HC, HC = max over i <= ceil(k / 2) of sqrt(k) (i / k - p_i) / sqrt(p_i (1 - p_i)), p_1 <= ... <= p_k.

    p of a column is the probability of its discrete part times the tail rank of its density, 1 where it has none. Too
    many small ones stand out though none does by itself, and one that is absurd does alone. asinh changes no order and
    is about log(2 HC) far out, which stays a number where HC would not.

    Source: Donoho & Jin, "Higher criticism for detecting sparse heterogeneous mixtures", Ann. Statist. 32 (2004).

    >>> terms = np.column_stack([np.arange(99.0), np.arange(99.0)])
    >>> parts = Parts(np.zeros(99), terms.sum(axis=1), np.full(99, "11"), np.zeros((99, 2)), terms)
    >>> HigherCriticism.fit(parts).score(parts.take([0, 98])).round(2).tolist()
    [2.64, -2.64]
    """

    name: ClassVar[str] = "higher_criticism"

    def score(self, parts: Parts) -> Array:
        mass, _, _ = parts.kinds(self.name)
        columns = mass.shape[1]
        half = -(-columns // 2)
        log_p = np.sort(np.minimum(mass + self.log_ranks(parts), 0.0), axis=1)[:, :half]
        gap = np.arange(1, half + 1) / columns - np.exp(log_p)
        with np.errstate(divide="ignore"):  # a gap of 0 is an HC of 0
            size = np.log(np.abs(gap))
        size += 0.5 * (math.log(columns) - log_p - np.log(np.maximum(-np.expm1(log_p), _LEAST)))
        return np.max(np.copysign(_asinh_of_exp(size), gap), axis=1)


def _asinh_of_exp(log: Array) -> Array:
    """asinh(exp(log)), also where exp(log) overflows."""
    far = np.maximum(log, 0.0)
    return np.where(log > 0, far + np.log1p(np.sqrt(1 + np.exp(-2 * far))), np.arcsinh(np.exp(np.minimum(log, 0.0))))
