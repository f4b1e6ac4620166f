"""The tail rank of every column by itself: what scores by column have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.parts import Parts
from flowguard.calibration.scores.score import Score
from flowguard.calibration.tail import TailRank, tails_from_state, tails_to_state

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ColumnRanks(Score):
    """A score of columns' tail ranks; it has to say how they become one number.

    Each column's log density is ranked among the reference records in which that column was continuous.
    """

    tails: tuple[TailRank, ...]

    @classmethod
    def fit(cls, parts: Parts) -> Self:
        density, digits = parts.columns(cls.name)
        return cls(tuple(TailRank.fit(density[:, place], digits[:, place]) for place in range(density.shape[1])))

    def log_ranks(self, parts: Parts) -> Array:
        """log tail rank of each column, (n, columns), at most 0; 0 where it is not continuous."""
        density, digits = parts.columns(self.name)
        ranks = [tail.log_rank(density[:, place], digits[:, place]) for place, tail in enumerate(self.tails)]
        return np.stack(ranks, axis=1)

    def to_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return tails_to_state(self.tails)

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        return cls(tails_from_state(state, arrays))
