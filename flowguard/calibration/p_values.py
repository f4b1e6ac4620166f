"""p-values with the label of how they were made, and so of what they promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

Kind = Literal["split", "smoothed", "cross", "weighted", "extrapolated"]
"""How p-values came about.

split: a rank among records held out, valid and positively dependent. smoothed: the same with ties broken at random.
cross: ranks among folds, valid but for a factor. weighted: ranks among weighted records, approximate. extrapolated: a
model of the tail below 1 / (n + 1).
"""

# Relative; (1 + k) / (n + 1) and 1 / (n + 1) are each rounded once.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class PValues:
    """p-values (n,) of one kind. P(p_value <= a) <= factor a + excess for an ordinary record, where that is known.

    `extrapolated` (n,) marks those that a tail model gave; None where there is none. NaN raises ValueError, as it would
    pass for ordinary, and so does a value outside [0, 1].

    >>> PValues(np.array([0.01, 0.5]), "cross", factor=2.0).bound(0.01)
    0.02
    """

    values: Array
    kind: Kind = "split"
    factor: float = 1.0
    excess: float = 0.0
    extrapolated: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim != 1:
            raise ValueError(f"p-values are one column; this array has shape {values.shape}")
        if np.isnan(values).any():
            raise ValueError("a p-value is NaN and can be neither flagged nor passed")
        if len(values) and not (values.min() >= 0 and values.max() <= 1):
            raise ValueError(f"p-values lie between 0 and 1; these between {values.min():g} and {values.max():g}")
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.values)

    def bound(self, level: float) -> float | None:
        """The greatest probability that an ordinary record gets a p-value <= `level`; None where it is not known."""
        if self.kind in ("weighted", "extrapolated"):
            return None
        return min(1.0, self.factor * level + self.excess)


def labelled(p_value: ArrayLike | PValues, smallest_level: Array, *, extrapolate: bool = False) -> PValues:
    """`p_value` as it is labelled; a bare array holds ranks, unless one lies below its record's `smallest_level` (n,).

    No rank does: those are taken for extrapolated. `extrapolate`: a tail model stands behind ranks, also where none of
    these came from it.
    """
    given = p_value if isinstance(p_value, PValues) else PValues(np.asarray(p_value, dtype=np.float64))
    if len(given) != len(smallest_level):
        raise ValueError(f"{len(given)} p-values but {len(smallest_level)} reference sizes")
    if given.kind != "split":
        return given
    below = given.values < smallest_level * (1 - _ROUNDING)
    return PValues(given.values, "extrapolated", extrapolated=below) if extrapolate or below.any() else given
