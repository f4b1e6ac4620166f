"""The contract of scores: from the parts of a log-likelihood to one number, higher = stranger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.parts import Parts

Array = NDArray[np.float64]


class Score(ABC):
    """What records are ranked by.

    Laws, tested on every score: it is fitted on the reference half alone, so that p-values from the other half are
    valid; a record's score depends on that record alone; it is finite, also for logs held at -1e300; an absurd record
    is strictly stranger than an odd one; `from_state(*to_state())` gives the same bits.

    `name` is the word in a pipeline file. `ranks` says whether a reference half is needed: without it nothing is
    fitted, and all held-out records give p-values.
    """

    name: ClassVar[str]
    ranks: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def fit(cls, parts: Parts) -> Self:
        """Fitted on the reference half; CalibrationError where the density lacks what this score looks at."""

    @abstractmethod
    def score(self, parts: Parts) -> Array:
        """Shape (n,), higher = stranger."""

    @abstractmethod
    def to_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """JSON and arrays."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """The score that wrote them."""
