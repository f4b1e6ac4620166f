"""What is sealed of one column at calibration, and what a batch's column says against it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from flowguard.calibration.drift.channel import Measure
from flowguard.calibration.drift.records import FARTHEST, Array, codes, levels, numbers
from flowguard.calibration.drift.usual import Usual

POINTS = 65
"""Quantiles of a number, even on the normal scale from -3 to 3: tails count, and 64 even ones would stop at 1.6 %."""

LISTED = 64
"""Levels of a category that have a share of their own, and values of a number that may repeat."""

KNOWN = 4096
"""Levels that are remembered as seen."""

CONSTANT = 0.9
"""Share of one value in the middling unit above which a number is one of the unit, and cannot stand still."""


@dataclass(frozen=True)
class Reading:
    """What a batch says of one column: by measure, the statistic that is ranked (NaN: none) and its plain figure.

    `figures` has the level's median, the shares missing and unseen, that of the commonest value, or of the level whose
    share moved most; `details` names the value or level. `means` are what the context explains scores by.
    """

    statistics: dict[str, float]
    figures: dict[str, float]
    details: dict[str, str] = field(default_factory=dict)
    means: Array = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, eq=False)
class Scale:
    """A fixed increasing map from a column's values to normal scores, by its quantiles at calibration.

    The rank at a value that repeats is the middle of its ranks. Beyond the outermost quantiles it is half their rank:
    one wild value counts as any other beyond the rest.
    """

    points: Array
    scores: Array
    ends: tuple[float, float]

    @classmethod
    def fit(cls, values: Array) -> Scale:
        """From values (n,) without NaN, n of any size."""
        ranks = ndtr(np.linspace(-3, 3, POINTS))
        quantiles = (
            np.quantile(np.clip(values, -FARTHEST, FARTHEST), ranks, method="inverted_cdf")
            if len(values)
            else np.zeros(POINTS)
        )
        points, first, counts = np.unique(quantiles, return_index=True, return_counts=True)
        middle = (ranks[first] + ranks[first + counts - 1]) / 2
        ends = float(ndtri(middle[0] / 2)), float(ndtri((1 + middle[-1]) / 2))
        return cls(points, ndtri(middle), ends)

    def __call__(self, values: Array) -> Array:
        """Normal scores (n,), within [-3.3, 3.3]; NaN of NaN."""
        return np.interp(values, self.points, self.scores, left=self.ends[0], right=self.ends[1])

    @property
    def median(self) -> float:
        return float(self.points[np.argmin(np.abs(self.scores))])

    def to_json(self) -> dict[str, Any]:
        return {"points": self.points.tolist(), "scores": self.scores.tolist(), "ends": list(self.ends)}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Scale:
        return cls(np.array(state["points"]), np.array(state["scores"]), tuple(state["ends"]))


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

    def to_json(self) -> dict[str, Any]:
        arrays = {"values": self.values, "shares": self.shares, "between": self.between}
        return {**{name: array.tolist() for name, array in arrays.items()}, "other": self.other}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Repeats:
        values, shares, between = (np.array(state[name]) for name in ("values", "shares", "between"))
        return cls(values, shares, between, state["other"])


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
            details["repeats"] = f"{value:.6g}"
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


@dataclass(frozen=True, eq=False)
class Levels:
    """A column of levels: the shares of the commonest (k,) and, last, of all others; what is missing and unseen.

    `between` is how far batches are usually from these shares beyond what their numbers of records explain. `constant`:
    nearly every unit has one level (a month, a weekday), which is no mix.
    """

    names: tuple[str, ...]
    shares: Array
    known: frozenset[str]
    between: float
    missing: Usual
    unseen: Usual
    constant: bool

    kind = "levels"

    @classmethod
    def fit(cls, values: NDArray[Any], units: NDArray[np.int64]) -> Levels:
        all_names, counts, _ = levels(values)
        order = np.argsort(-counts, kind="stable")
        names = tuple(sorted(all_names[place] for place in order[: LISTED - 1].tolist()))
        known = frozenset(all_names[place] for place in order[:KNOWN].tolist())
        places = codes(values, names)
        there = places >= 0
        n = int(there.sum())
        # Half a record for the rest, that new levels are rare and not impossible.
        held = np.bincount(places[there], minlength=len(names) + 1).astype(np.float64)
        held[-1] += 0.5
        shares = held / held.sum()
        table = _by_unit(units[there], places[there], len(shares))
        sizes = table.sum(axis=1)
        table, sizes = table[sizes > 0], sizes[sizes > 0]
        own = table / sizes[:, None]
        apart = ((own - shares) ** 2 / shares).sum(axis=1) - (len(shares) - 1) / sizes
        between = max(0.0, float(apart.mean())) if n else 0.0
        largest = float(np.median(own.max(axis=1))) if n else 0.0
        # One unit tells nothing of units.
        constant = len(sizes) > 1 and largest > CONSTANT > float(shares.max())
        missing = Usual.share(places < 0, units)
        unseen = Usual.share(np.zeros(len(places), dtype=bool), units)
        return cls(names, shares, known, between, missing, unseen, constant)

    @property
    def measures(self) -> tuple[Measure, ...]:
        return ("missing", "unseen") if self.constant else ("mix", "missing", "unseen")

    @property
    def usual(self) -> dict[str, float]:
        return {"missing": self.missing.centre, "unseen": 0.0}

    def share_of(self, name: str) -> float:
        """The share of a level at calibration; that of all others for one not listed."""
        return float(self.shares[self.names.index(name) if name in self.names else -1])

    def read(self, values: NDArray[Any], name: str) -> Reading:
        """The mix is how far the shares are from the sealed ones, sqrt(sum (q - p)^2 / p), over its usual size.

        That is Pearson's statistic by record, which has mean (k - 1) / n where nothing moved: batches of any size
        compare.
        """
        found, counts, gone = levels(values)
        n = int(counts.sum())
        new = [(count, level) for level, count in zip(found, counts.tolist(), strict=True) if level not in self.known]
        unseen = sum(count for count, _ in new) / n if n else 0.0
        missing = gone / (n + gone)
        statistics = {
            "mix": math.nan,
            "missing": self.missing.standardised_share(missing, n + gone),
            "unseen": self.unseen.standardised_share(unseen, n),
        }
        figures = {"mix": math.nan, "missing": missing, "unseen": unseen}
        details = {"unseen": max(new)[1]} if new else {}
        held = np.zeros(len(self.shares))
        place = {level: i for i, level in enumerate(self.names)}
        for level, count in zip(found, counts.tolist(), strict=True):
            held[place.get(level, len(self.names))] += count
        if n:
            shares = held / n
            expected = self.between + max(1, len(shares) - 1) / n
            statistics["mix"] = math.sqrt(_apart(shares, self.shares) / expected)
            moved = int(np.argmax((shares - self.shares) ** 2 / np.sqrt(self.shares)))
            figures["mix"] = float(shares[moved])
            details["mix"] = self.names[moved] if moved < len(self.names) else ""
        if self.constant:
            del statistics["mix"], figures["mix"]
        return Reading(statistics, figures, details, _level_means(held, n + gone))

    def design(self, values: NDArray[Any], name: str) -> Array:
        """One column a level listed and one for all others, (n, k + 1); a missing one has none."""
        places = codes(values, self.names)
        return (places[:, None] == np.arange(len(self.shares))).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "names": list(self.names),
            "shares": self.shares.tolist(),
            "known": sorted(self.known),
            "between": self.between,
            "missing": self.missing.to_json(),
            "unseen": self.unseen.to_json(),
            "constant": self.constant,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Levels:
        return cls(
            tuple(state["names"]),
            np.array(state["shares"]),
            frozenset(state["known"]),
            state["between"],
            Usual.from_json(state["missing"]),
            Usual.from_json(state["unseen"]),
            state["constant"],
        )


Column = Number | Levels


def column_from_json(state: Mapping[str, Any]) -> Column:
    return Number.from_json(state) if state["kind"] == Number.kind else Levels.from_json(state)


def _apart(shares: Array, usual: Array) -> float:
    return float(((shares - usual) ** 2 / usual).sum())


def _number_means(scores: Array, n: int) -> Array:
    return np.array([scores.sum(), (scores**2).sum(), n - len(scores)]) / max(1, n)


def _level_means(held: Array, n: int) -> Array:
    return held / max(1, n)


def _by_unit(units: NDArray[np.int64], places: NDArray[np.int64], width: int) -> Array:
    """How often each place occurs in each unit, (units, width)."""
    rows = int(units.max()) + 1 if len(units) else 0
    return np.bincount(units * width + places, minlength=rows * width).reshape(rows, width).astype(np.float64)


def _usual_top(places: NDArray[np.int64], units: NDArray[np.int64], sizes: NDArray[np.int64]) -> float:
    """The share of the commonest value in the middling unit."""
    pairs, counts = np.unique(units * (int(places.max()) + 1) + places, return_counts=True)
    most = np.zeros(len(sizes))
    np.maximum.at(most, pairs // (int(places.max()) + 1), counts)
    return float(np.median(most[sizes > 0] / sizes[sizes > 0]))
