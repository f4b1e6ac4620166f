"""The score of the largest surprise: no absurd column drowns in the noise of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.parts import Parts
from flowguard.calibration.scores.column_ranks import ColumnRanks


@dataclass(frozen=True, eq=False)
class Largest(ColumnRanks):
    """The largest of -log_mass and every column's -log tail rank: one absurd column counts among many as alone.

    >>> terms = np.column_stack([np.arange(100.0), np.arange(100.0)])
    >>> parts = Parts(np.zeros(100), terms.sum(axis=1), np.full(100, "11"), density_terms=terms)
    >>> Largest.fit(parts).score(parts.take([0, 99])).round(2).tolist()
    [4.62, 0.01]
    """

    name: ClassVar[str] = "largest"

    def score(self, parts: Parts) -> NDArray[np.float64]:
        return np.maximum(-parts.log_mass, np.max(-self.log_ranks(parts), axis=1))
