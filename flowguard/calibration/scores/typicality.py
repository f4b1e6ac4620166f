"""The score of what is typical: a density that is too high is odd as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.parts import Parts
from flowguard.calibration.scores.score import Score
from flowguard.calibration.tail import TailRank, tails_from_state, tails_to_state

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Typicality(Score):
    """-log_mass - log min(1, 2 min(lower, upper)), of the tail ranks of log_density and -log_density in its pattern.

    In many dimensions ordinary records never sit at the mode: a block of suspiciously modal ones, copied or made up,
    has the highest densities of all. Both tails go on strictly beyond the reference.

    Source: Nalisnick et al., "Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality" (2019),
    for single records and as ranks.

    >>> parts = Parts(np.full(99, -1.0), np.arange(99.0), np.full(99, "1"))
    >>> Typicality.fit(parts).score(parts.take([0, 49, 98])).round(2).tolist()
    [4.91, 1.0, 4.91]
    """

    lower: TailRank
    upper: TailRank

    name: ClassVar[str] = "typicality"

    @classmethod
    def fit(cls, parts: Parts) -> Typicality:
        return cls(TailRank.fit(parts.log_density, parts.pattern), TailRank.fit(-parts.log_density, parts.pattern))

    def score(self, parts: Parts) -> Array:
        lower = self.lower.log_rank(parts.log_density, parts.pattern)
        upper = self.upper.log_rank(-parts.log_density, parts.pattern)
        # In the middle, and where nothing is continuous, twice a rank is more than 1.
        return -parts.log_mass - np.minimum(0.0, np.log(2.0) + np.minimum(lower, upper))

    def to_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return tails_to_state((self.lower, self.upper))

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, Array]) -> Typicality:
        return cls(*tails_from_state(state, arrays))
