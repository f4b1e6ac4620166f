"""How much calibration records count by their age, where recent ones are to count more: rolling and weighted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowguard.calibration.weighted import forgetting_weights

Array = NDArray[np.float64]

_FORGOTTEN = 10
"""Half-lives after which records no longer count: they would weigh less than a thousandth."""


@dataclass(frozen=True)
class Aging:
    """Weights of reference records by their age in days: 0 from `window` on, halved with every `half_life`.

    At least one of both is given. What p-values with such weights promise is said in `weighted_p_value`: it is
    approximate.

    >>> Aging(half_life=7.0, window=28).weights([0, 7, 14, 28]).tolist()
    [1.0, 0.5, 0.25, 0.0]
    """

    half_life: float | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        if self.half_life is None and self.window is None:
            raise ValueError("aging needs a half-life, a window or both")
        if self.half_life is not None and not self.half_life > 0:
            raise ValueError(f"a half-life is above 0, not {self.half_life}")
        if self.window is not None and self.window < 1:
            raise ValueError(f"a window is 1 day or more, not {self.window}")

    @property
    def horizon(self) -> int:
        """Records of so many days and more do not count."""
        forgotten = [] if self.half_life is None else [int(np.ceil(_FORGOTTEN * self.half_life))]
        return min([*forgotten, *([] if self.window is None else [self.window])])

    @property
    def words(self) -> str:
        """The rule in a few words, for people."""
        days = "" if self.window is None else f"the last {_days(self.window)}"
        halved = "" if self.half_life is None else f"half the weight every {_days(self.half_life)}"
        return ", ".join(part for part in (days, halved) if part)

    def weights(self, age: ArrayLike) -> Array:
        """The weight of records of that age in days (n,), from 0 to 1; days to come count as those past."""
        ages = np.abs(np.asarray(age, dtype=np.float64))
        weight = np.ones(ages.shape) if self.half_life is None else forgetting_weights(ages, self.half_life)
        return np.where(ages < self.horizon, weight, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"half_life": self.half_life, "window": self.window}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Aging:
        """The aging that wrote it."""
        return cls(given["half_life"], given["window"])


def _days(count: float) -> str:
    return "day" if count == 1 else f"{count:g} days"
