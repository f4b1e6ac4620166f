"""A column of numbers: what is sealed of it, and what a batch says against that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.drift.channel import Measure
from flowguard.calibration.drift.reading import Reading
from flowguard.calibration.drift.records import Array, numbers
from flowguard.calibration.drift.repeats import Repeats, shown
from flowguard.calibration.drift.scale import Scale
from flowguard.calibration.drift.usual import Usual


@dataclass(frozen=True, eq=False)
class Number:
    """A column of numbers: its scale, the usual mean of its normal scores, what is missing and what repeats."""

    scale: Scale
    level: Usual
    missing: Usual
    repeats: Repeats | None
    top: float

    kind = "number"

    @classmethod
    def fit(cls, values: NDArray[Any], units: NDArray[np.int64], name: str) -> Number:
        column = numbers(values, name)
        there = ~np.isnan(column)
        scale = Scale.fit(column[there])
        repeats = Repeats.fit(column, units)
        top = max(repeats.shares, default=0.0) if repeats else 1.0
        missing = Usual.share(~there, units)
        return cls(scale, Usual.fit(scale(column), units), missing, repeats, float(top))

    @property
    def measures(self) -> tuple[Measure, ...]:
        return ("level", "missing", "repeats") if self.repeats else ("level", "missing")

    @property
    def usual(self) -> dict[str, float]:
        """The plain figures at calibration."""
        return {"level": self.scale.median, "missing": self.missing.centre, "repeats": self.top}

    def read(self, values: NDArray[Any], name: str) -> Reading:
        column = numbers(values, name)
        there = column[~np.isnan(column)]
        scores = self.scale(there)
        share = 1 - len(there) / len(column)
        mean = float(scores.mean()) if len(there) else math.nan
        statistics = {
            "level": self.level.standardised(mean, len(there)),
            "missing": self.missing.standardised_share(share, len(column)),
        }
        figures = {"level": float(np.median(there)) if len(there) else math.nan, "missing": share}
        details = {}
        if self.repeats:
            statistics["repeats"], figures["repeats"], value = self.repeats.read(there)
            details["repeats"] = shown(value)
        return Reading(statistics, figures, details, _number_means(scores, len(column)))

    def design(self, values: NDArray[Any], name: str) -> Array:
        """What the context explains scores by, (n, 3); the mean over a batch is its reading's `means`."""
        column = numbers(values, name)
        gone = np.isnan(column)
        scores = np.where(gone, 0.0, self.scale(column))
        return np.stack([scores, scores**2, gone.astype(np.float64)], axis=-1)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "scale": self.scale.to_json(),
            "level": self.level.to_json(),
            "missing": self.missing.to_json(),
            "repeats": self.repeats.to_json() if self.repeats else None,
            "top": self.top,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Number:
        repeats = Repeats.from_json(state["repeats"]) if state["repeats"] else None
        level, missing = (Usual.from_json(state[name]) for name in ("level", "missing"))
        return cls(Scale.from_json(state["scale"]), level, missing, repeats, state["top"])


def _number_means(scores: Array, n: int) -> Array:
    return np.array([scores.sum(), (scores**2).sum(), n - len(scores)]) / max(1, n)
