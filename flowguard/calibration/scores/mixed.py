"""The score of mixed tables: surprises of what has a probability and of a density's rank, added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.parts import Parts
from flowguard.calibration.scores.score import Score
from flowguard.calibration.tail import TailRank

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mixed(Score):
    """-log_mass - log(tail rank of log_density within its pattern).

    A density and a probability do not compare: with 99 % zeros and 1 % tiny numbers, -log p ranks the odd numbers as
    the most ordinary. A rank is a probability, and compares.

    >>> parts = Parts(np.full(100, -0.1), np.arange(100.0), np.full(100, "1"))
    >>> Mixed.fit(parts).score(parts.take([0, 99])).round(2).tolist()
    [4.72, 0.11]
    """

    tail: TailRank

    name: ClassVar[str] = "mixed"

    @classmethod
    def fit(cls, parts: Parts) -> Mixed:
        return cls(TailRank.fit(parts.log_density, parts.pattern))

    def score(self, parts: Parts) -> Array:
        return -parts.log_mass - self.tail.log_rank(parts.log_density, parts.pattern)

    def to_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return self.tail.to_state()

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, Array]) -> Mixed:
        return cls(TailRank.from_state(state, arrays))
