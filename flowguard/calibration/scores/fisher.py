"""The score of many small surprises: Fisher's sum of log ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.parts import Parts
from flowguard.calibration.scores.column_ranks import ColumnRanks


@dataclass(frozen=True, eq=False)
class Fisher(ColumnRanks):
    """-log_mass - sum over columns of log(tail rank): every column surprises as its own records do, and all count.

    Source: Fisher, "Statistical Methods for Research Workers", 4th ed. (1932), 21.1. Columns need not be independent:
    the p-value is conformal, not that of a chi-squared distribution.

    >>> terms = np.column_stack([np.arange(99.0), np.arange(99.0)])
    >>> parts = Parts(np.zeros(99), terms.sum(axis=1), np.full(99, "11"), density_terms=terms)
    >>> Fisher.fit(parts).score(parts.take([0, 98])).round(2).tolist()
    [9.21, 0.02]
    """

    name: ClassVar[str] = "fisher"

    def score(self, parts: Parts) -> NDArray[np.float64]:
        return -parts.log_mass - self.log_ranks(parts).sum(axis=1)
