"""Features of kind integer: a probability for each point of a lattice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowguard.encoding.feature import FIRST, MISSING, Coded, Feature, own_place
from flowguard.encoding.front import Front
from flowguard.encoding.lattice import Lattice
from flowguard.encoding.number import NumberFit, read_numbers
from flowguard.encoding.settings import FeatureSettings

Array = NDArray[np.float64]

WIDEST = 2**20
"""An integer of more steps than this between its least and greatest value is modelled as a number."""

_OFF = FIRST
_RESOLVED = 2.0**-30
_FARTHEST = 1e100


@dataclass(frozen=True, eq=False)
class IntegerFeature(Feature):
    """An integer: code 0 is a point of its lattice, 1 is missing, 2 a number off the lattice (see `Lattice`).

    A point v has the probability F(g(v + h/2)) - F(g(v - h/2)), g the front, h the step, F a distribution over encoded
    values. The edges between points are the same bits from either side, so that these sum to 1 over the lattice.
    """

    front: Front
    lattice: Lattice
    center: float
    scale: float
    kind = "integer"

    @property
    def step(self) -> float:
        return self.lattice.step

    def encode(self, array: pa.Array, dither: np.random.Generator | None) -> Coded:
        raw = read_numbers(array, column=self.column)
        codes = np.where(np.isfinite(raw), _OFF, MISSING).astype(np.int64)
        infinite = np.isinf(raw)
        seen = np.flatnonzero(codes == _OFF)
        points = seen[self.lattice.holds(raw[seen])]
        codes[points] = 0
        lower, log_width = np.zeros(len(raw)), np.zeros(len(raw))
        lower[points], log_width[points] = self.cell(raw[points])
        line = np.zeros(len(raw))
        line[seen] = self.straight(raw[seen])
        return Coded(codes, lower, log_width, infinite if infinite.any() else None, line)

    def straight(self, values: Array) -> Array:
        """The nearest points of finite `values` in deviations from the mean, where they stay evenly spaced."""
        with np.errstate(over="ignore"):
            line = self.lattice.nearest(values) / self.scale - self.center / self.scale
        return np.clip(line, -_FARTHEST, _FARTHEST)

    def density_column(self) -> dict[str, Any]:
        # A distribution over the points of the straight scale needs their distance, and where one of them lies.
        origin = float(self.straight(np.array([self.center]))[0])
        return {**super().density_column(), "spacing": self.lattice.step / self.scale, "origin": origin}

    def cell(self, values: Array) -> tuple[Array, Array]:
        """g(v - h/2) and log(g(v + h/2) - g(v - h/2)) of the nearest point v of finite `values`; always finite.

        Where the difference of the edges keeps less than 22 bits (far tails, where g is smooth), the width is h times
        the slope of g at v: its error there is of the second order in h / v.
        """
        below, above = self.lattice.edges(values)
        lower, upper = self.front.forward(below)[0], self.front.forward(above)[0]
        width = upper - lower
        resolved = width > _RESOLVED * np.maximum(np.abs(lower), np.abs(upper))
        slope = self.front.forward(self.lattice.nearest(values))[1]
        log_width = math.log(self.lattice.step) + slope
        log_width[resolved] = np.log(width[resolved])
        return lower, log_width

    def decode(self, x: Array) -> Array:
        """The nearest point of the lattice to each encoded value."""
        return self.lattice.nearest(self.front.inverse(x))

    def level_of(self, code: int) -> None:
        own_place(self, code)

    def to_dict(self) -> dict[str, Any]:
        own = {"front": self.front.to_dict(), "lattice": self.lattice.to_dict()}
        return {**super().to_dict(), **own, "center": self.center, "scale": self.scale}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> IntegerFeature:
        common = (state["name"], state["column"], tuple(state["counts"]))
        maps = Front.from_dict(state["front"]), Lattice.from_dict(state["lattice"])
        return cls(*common, *maps, state["center"], state["scale"])


def integer_feature(
    fit: NumberFit, column: str, settings: FeatureSettings, notices: list[str]
) -> IntegerFeature | None:
    """The integer that a finished pass has learned; None, with a notice, where it has to be a number.

    How many values were off the lattice is estimated from the sample: its share of them times the observed rows,
    rounded, at least 1 where it has one.
    """
    sample = fit.sample()
    lattice = Lattice.of(sample)
    if lattice is None:
        notices.append(f"{fit.name}: it is not modelled as an integer (its values lie on no lattice)")
        return None
    low, high = fit.range
    steps = high / lattice.step - low / lattice.step
    if steps > WIDEST:
        notices.append(
            f"{fit.name}: it is not modelled as an integer "
            f"(it spans {steps:.3g} steps of {lattice.step:g}; at most {WIDEST:,} have a probability each)"
        )
        return None
    odd = len(sample) - int(lattice.holds(sample).sum())
    off = max(1, round(odd / len(sample) * fit.observed)) if odd else 0
    front = fit.on_lattice(settings.front, notices, lattice=lattice)
    on = sample[lattice.holds(sample)]
    center, scale = float(on.mean()), max(float(on.std()), lattice.step)
    return IntegerFeature(fit.name, column, (fit.observed - off, fit.missing, off), front, lattice, center, scale)
