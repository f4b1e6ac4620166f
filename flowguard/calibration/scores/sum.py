"""The score of surprises in their own spread: no column dominates by its units or by how much it varies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.parts import Parts
from flowguard.calibration.scores.score import Score
from flowguard.calibration.tail import FEWEST

Array = NDArray[np.float64]

SUM_ARRAYS = ("mass_mean", "mass_deviation", "density_mean", "density_deviation", "continuous")


@dataclass(frozen=True, eq=False)
class Sum(Score):
    """Sum over columns of (surprise - mean) / deviation, the discrete part and the density of each by itself.

    Mean and deviation of a density's surprise are those of the reference records in which that column was continuous;
    those of the discrete part, which every record has, are over all: among missing values alone a rare missing value
    would be usual. A deviation counts as if 50 more records had deviated by one nat, so that a column that hardly
    varied, or was hardly seen, does not take over. All shapes are (features,), `continuous` how often each was.

    A density in a column that was never continuous surprises by log(1 + 1 / density): it falls with density, and no
    unit makes it ordinary.

    Source: a sum of standard scores; each surprise is a term of the exact -log_likelihood.

    >>> terms = np.column_stack([np.arange(99.0), 1000 * np.arange(99.0)])
    >>> parts = Parts(np.zeros(99), terms.sum(axis=1), np.full(99, "11"), np.zeros((99, 2)), terms)
    >>> Sum.fit(parts).score(parts.take([0, 49, 98])).round(1).tolist()
    [4.2, 0.0, -4.2]
    """

    mass_mean: Array
    mass_deviation: Array
    density_mean: Array
    density_deviation: Array
    continuous: Array

    name: ClassVar[str] = "sum"

    @classmethod
    def fit(cls, parts: Parts) -> Sum:
        mass, density, continuous = parts.kinds(cls.name)
        return cls(
            *_spread(-mass, np.ones_like(continuous)),
            *_spread(-density, continuous),
            continuous=continuous.sum(axis=0, dtype=np.float64),
        )

    def score(self, parts: Parts) -> Array:
        mass, density, continuous = parts.kinds(self.name)
        usual = (-density - self.density_mean) / self.density_deviation
        surprise = np.where(self.continuous > 0, usual, np.logaddexp(0.0, -density))
        return ((-mass - self.mass_mean) / self.mass_deviation + np.where(continuous, surprise, 0.0)).sum(axis=1)

    def to_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {}, {name: getattr(self, name) for name in SUM_ARRAYS}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, Array]) -> Sum:
        return cls(**{name: arrays[name] for name in SUM_ARRAYS})


def _spread(surprise: Array, among: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Each column's mean and deviation `among` some of its records; 0 and 1 where there are none."""
    count = among.sum(axis=0)
    share = among / np.maximum(count, 1)
    mean = (surprise * share).sum(axis=0)
    rest = np.where(among, np.abs(surprise - mean), 0.0)
    # Squares of logs that are held at -1e300 would overflow.
    top = np.maximum(rest.max(axis=0, initial=0.0), 1.0)
    deviation = top * np.sqrt(((rest / top) ** 2 * share).sum(axis=0))
    return mean, np.hypot(deviation * np.sqrt(count / (count + FEWEST)), np.sqrt(FEWEST / (count + FEWEST)))
