"""The score of plain tables: -log p itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.parts import Parts
from flowguard.calibration.scores.score import Score

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LogLikelihood(Score):
    """-(log_mass + log_density). Compares records of one pattern only; nothing is fitted.

    >>> parts = Parts([-1.0], [-2.0], ["1"])
    >>> LogLikelihood.fit(parts).score(parts).tolist()
    [3.0]
    """

    name: ClassVar[str] = "log_likelihood"
    ranks: ClassVar[bool] = False

    @classmethod
    def fit(cls, parts: Parts) -> LogLikelihood:
        return cls()

    def score(self, parts: Parts) -> Array:
        return -(parts.log_mass + parts.log_density)

    def to_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {}, {}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, Array]) -> LogLikelihood:
        return cls()
