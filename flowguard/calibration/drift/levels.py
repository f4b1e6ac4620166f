"""A column of levels: what is sealed of it, and what a batch says against that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.drift.channel import Measure
from flowguard.calibration.drift.reading import Reading
from flowguard.calibration.drift.records import Array, codes, levels
from flowguard.calibration.drift.usual import Usual

LISTED = 64
"""Levels that have a share of their own, that of all others included."""

KNOWN = 4096
"""Levels that are remembered as seen."""

CONSTANT = 0.9
"""Share of one level in the middling unit above which a column is one of the unit, and no mix."""


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


def _apart(shares: Array, usual: Array) -> float:
    return float(((shares - usual) ** 2 / usual).sum())


def _level_means(held: Array, n: int) -> Array:
    return held / max(1, n)


def _by_unit(units: NDArray[np.int64], places: NDArray[np.int64], width: int) -> Array:
    """How often each place occurs in each unit, (units, width)."""
    rows = int(units.max()) + 1 if len(units) else 0
    return np.bincount(units * width + places, minlength=rows * width).reshape(rows, width).astype(np.float64)
