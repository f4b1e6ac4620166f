"""Values of a number that come again and again: atoms, and sensors that stand still."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.drift.records import Array
from flowguard.calibration.drift.usual import Usual

LISTED = 64
"""Values whose share at calibration is known."""

CONSTANT = 0.9
"""Share of one value in the middling unit above which a number is one of the unit, and cannot stand still."""


@dataclass(frozen=True, eq=False)
class Repeats:
    """How common the values of a number are that repeat: (k,) sorted `values`, their shares and variances by unit.

    `other` bounds the share of values not listed.
    """

    values: Array
    shares: Array
    between: Array
    other: float

    @classmethod
    def fit(cls, values: Array, units: NDArray[np.int64]) -> Repeats | None:
        """None where most units have one value each: one of the unit (a day's weather) always stands still."""
        there = ~np.isnan(values)
        values, units = values[there], units[there]
        distinct, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        sizes = np.bincount(units)
        if len(values) and _usual_top(places, units, sizes) > CONSTANT:
            return None
        top = np.sort(np.argsort(-counts, kind="stable")[:LISTED])
        top = top[counts[top] > 1]
        between = [Usual.fit((places == place).astype(np.float64), units).between for place in top.tolist()]
        shares = counts[top] / len(values)
        other = float(shares.min()) if len(top) == LISTED else 0.0
        return cls(distinct[top], shares, np.array(between), other)

    def read(self, values: Array) -> tuple[float, float, float]:
        """The statistic, and the share and value of what repeats most beyond its usual share; `values` without NaN.

        The largest excess over the usual share of any one value, in its standard deviations. A sensor that stands still
        at one of many stations is linear in it, where the share of equal pairs would be quadratic; the order of records
        within a batch means nothing, so runs do not either. The record itself is taken off: a value found once does not
        repeat.
        """
        n = len(values) - 1
        if n < 1:
            return math.nan, math.nan, math.nan
        distinct, counts = np.unique(values, return_counts=True)
        shares, between = np.full(len(distinct), self.other), np.zeros(len(distinct))
        if len(self.values):
            places = np.minimum(np.searchsorted(self.values, distinct), len(self.values) - 1)
            listed = self.values[places] == distinct
            shares[listed], between[listed] = self.shares[places[listed]], self.between[places[listed]]
        again = (counts - 1) / n
        excess = (again - shares) / np.sqrt(between + shares * (1 - shares) / n + 1 / n**2)
        most = int(np.argmax(excess))
        return float(excess[most]), float(counts[most] / (n + 1)), float(distinct[most])

    def share_of(self, value: str) -> float:
        """The largest share at calibration of a value that is `shown` so; a bound for one not listed."""
        same = [
            share for one, share in zip(self.values.tolist(), self.shares.tolist(), strict=True) if shown(one) == value
        ]
        return max(same, default=self.other)

    def to_json(self) -> dict[str, Any]:
        arrays = {"values": self.values, "shares": self.shares, "between": self.between}
        return {**{name: array.tolist() for name, array in arrays.items()}, "other": self.other}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Repeats:
        values, shares, between = (np.array(state[name]) for name in ("values", "shares", "between"))
        return cls(values, shares, between, state["other"])


def shown(value: float) -> str:
    """A value as people read it, and are told of it."""
    return f"{value:.6g}"


def _usual_top(places: NDArray[np.int64], units: NDArray[np.int64], sizes: NDArray[np.int64]) -> float:
    """The share of the commonest value in the middling unit."""
    pairs, counts = np.unique(units * (int(places.max()) + 1) + places, return_counts=True)
    most = np.zeros(len(sizes))
    np.maximum.at(most, pairs // (int(places.max()) + 1), counts)
    return float(np.median(most[sizes > 0] / sizes[sizes > 0]))
