"""What batches are compared with: sealed at calibration, and how a batch is summarised against it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowguard.calibration.drift.channel import Channel, Measure, Part
from flowguard.calibration.drift.columns import Column, column_from_json
from flowguard.calibration.drift.explained import Explained
from flowguard.calibration.drift.levels import Levels
from flowguard.calibration.drift.number import Number
from flowguard.calibration.drift.records import FARTHEST, Array, Records, is_number
from flowguard.calibration.drift.summary import BatchSummary, known
from flowguard.calibration.halves import FEWEST_UNITS, reference_half
from flowguard.errors import BundleError

VERSION = 1

EXPLAINED_BY = 50_000
"""Records that suffice to learn what contexts explain; the design of all of them would not fit."""

TENTHS = 10

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Reference:
    """Fixed functions of a batch, from calibration records; see `seal`.

    `features` and `context` are tables of their columns, `score` and `conditional` those of scores and per-column
    conditional ranks, `group` that of the calibration cells or None; `tenths` (9,) divides the scores.
    """

    score: Explained
    tenths: Array
    features: Mapping[str, Column] = field(default_factory=dict)
    context: Mapping[str, Column] = field(default_factory=dict)
    conditional: Mapping[str, Explained] = field(default_factory=dict)
    group: Levels | None = None

    @classmethod
    def fit(cls, records: Records, units: ArrayLike, *, categories: Collection[str] = ()) -> Reference:
        """From records and the unit (day, entity) of each, (n,); columns named in `categories` are levels.

        Raises ValueError when there are no records.
        """
        keys = np.asarray(units).astype(str)
        if len(keys) != len(records):
            raise ValueError(f"{len(records)} records but {len(keys)} units")
        if not len(records):
            raise ValueError("no calibration record to compare batches with")
        _, places = np.unique(keys, return_inverse=True)
        places = places.astype(np.int64)

        def column(name: str, values: NDArray[Any]) -> Column:
            number = is_number(values) and name not in categories
            return Number.fit(values, places, name) if number else Levels.fit(values, places)

        features = {name: column(name, values) for name, values in sorted(records.features.items())}
        context = {name: column(name, values) for name, values in sorted(records.context.items())}
        group = None if records.group is None else Levels.fit(records.group, places)
        rows = np.unique(np.linspace(0, len(records) - 1, EXPLAINED_BY).astype(np.int64))
        some = np.zeros(len(records), dtype=bool)
        some[rows] = True
        part = records.take(some)
        design = [column.design(part.context[name], name) for name, column in context.items()]
        if group is not None and part.group is not None:
            design.append(group.design(part.group, "group"))
        x = np.concatenate([np.zeros((len(part), 0)), *design], axis=1)
        return cls(
            score=Explained.fit(part.score, x, places[some]),
            tenths=np.quantile(
                np.clip(records.score, -FARTHEST, FARTHEST), np.arange(1, TENTHS) / TENTHS, method="inverted_cdf"
            ),
            features=features,
            context=context,
            conditional={
                name: Explained.fit(np.asarray(values, dtype=np.float64), x, places[some])
                for name, values in sorted(part.conditional.items())
            },
            group=group,
        )

    @cached_property
    def channels(self) -> tuple[Channel, ...]:
        """All that is watched, in an order that the names decide."""
        levels: tuple[Measure, ...] = ("level", "spread")
        found = [Channel("score", measure) for measure in levels]
        found += [Channel("conditional", measure, name) for name in self.conditional for measure in levels]
        parts: tuple[Part, ...] = ("feature", "context")
        for part in parts:
            for name, column in self._columns(part).items():
                found += [Channel(part, measure, name) for measure in column.measures]
        mixed = self.group is not None and "mix" in self.group.measures
        return (*found, Channel("group", "mix")) if mixed else tuple(found)

    def usual(self, channel: Channel, detail: str = "") -> float:
        """The plain figure of a channel at calibration, of the level or value `detail` where it has one; NaN: none."""
        if channel.part == "score":
            return 1 / TENTHS if channel.measure == "level" else math.nan
        if channel.part == "conditional":
            return math.nan
        column = self.group if channel.part == "group" else self._columns(channel.part)[channel.column]
        if isinstance(column, Levels) and channel.measure == "mix":
            return column.share_of(detail)
        if isinstance(column, Number) and column.repeats and channel.measure == "repeats" and detail:
            return column.repeats.share_of(detail)
        return column.usual.get(channel.measure, math.nan) if column is not None else math.nan

    def summarise(self, records: Records, *, batch: str, day: float | None = None) -> BatchSummary:
        """What is remembered of a batch. Raises ValueError, which names the column, when one that was sealed is absent.

        Columns that were not sealed are not looked at.
        """
        if not len(records):
            return BatchSummary(batch, 0, {}, {}, {}, day=day)
        statistics: dict[str, float] = {}
        figures: dict[str, float] = {}
        details: dict[str, str] = {}
        means: list[Array] = []
        for part, columns, given in (
            ("feature", self.features, records.features),
            ("context", self.context, records.context),
        ):
            for name, column in columns.items():
                read = column.read(_given(given, name, part), name)
                statistics.update(_keyed(part, name, read.statistics))
                figures.update(_keyed(part, name, read.figures))
                details.update(_keyed(part, name, read.details))
                if part == "context":
                    means.append(read.means)
        groups = None
        if self.group is not None:
            if records.group is None:
                raise ValueError("the reference has groups, and the batch has none")
            read = self.group.read(records.group, "group")
            means.append(read.means)
            if "mix" in self.group.measures:
                statistics["group/mix/"], figures["group/mix/"] = read.statistics["mix"], read.figures["mix"]
                details["group/mix/"] = read.details.get("mix", "")
            groups = dict(zip((*self.group.names, ""), read.means.tolist(), strict=True))
        x = np.concatenate([np.zeros(0), *means])
        explained = [("score", "", self.score, records.score)]
        for name, one in self.conditional.items():
            explained.append(("conditional", name, one, _given(records.conditional, name, "conditional")))
        for part, name, one, values in explained:
            level, spread = one.read(np.asarray(values, dtype=np.float64), x)
            statistics[f"{part}/level/{name}"], statistics[f"{part}/spread/{name}"] = level, spread
        tenths = np.searchsorted(self.tenths, records.score, side="left")
        shares = np.bincount(tenths, minlength=TENTHS) / len(records)
        figures["score/level/"] = float(shares[-1])
        return BatchSummary(
            batch, len(records), known(statistics), known(figures), details, tuple(shares.tolist()), groups, day
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` of it summarises to the same bits."""
        return {
            "version": VERSION,
            "score": self.score.to_json(),
            "tenths": self.tenths.tolist(),
            "features": {name: column.to_json() for name, column in self.features.items()},
            "context": {name: column.to_json() for name, column in self.context.items()},
            "conditional": {name: one.to_json() for name, one in self.conditional.items()},
            "group": None if self.group is None else self.group.to_json(),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Reference:
        """The reference that wrote `state`; raises `BundleError` when that has another layout."""
        if state.get("version") != VERSION:
            raise BundleError(
                f"the drift reference has layout {state.get('version')!r}; this flowguard reads {VERSION}"
            )
        return cls(
            score=Explained.from_json(state["score"]),
            tenths=np.array(state["tenths"]),
            features={name: column_from_json(one) for name, one in sorted(state["features"].items())},
            context={name: column_from_json(one) for name, one in sorted(state["context"].items())},
            conditional={name: Explained.from_json(one) for name, one in sorted(state["conditional"].items())},
            group=None if state["group"] is None else Levels.from_json(state["group"]),
        )

    def _columns(self, part: Part) -> Mapping[str, Column]:
        return self.features if part == "feature" else self.context


def seal(
    records: Records, units: ArrayLike, *, categories: Collection[str] = (), days: Mapping[str, float] | None = None
) -> tuple[Reference, tuple[BatchSummary, ...]]:
    """A reference, and the summaries of calibration units as the first batches to rank among, from calibration records.

    The same halves as `Calibration.fit` makes: the reference from the units that scores are fitted on, the summaries
    from those that are the conformal reference. Units summarised against a reference that they are part of look closer
    to it than any later batch does, and a bet finds that. With fewer than 8 units the reference has all of them, and
    the first batch has none to rank among.

    The summaries are comparable where units are what batches are, days mostly; where units are entities, begin with
    none. `days` has the date of a unit as a number. Units come in the order of their days, or of their names.

    >>> rng = np.random.default_rng(0)
    >>> units = np.repeat([f"2013-01-{day:02}" for day in range(1, 31)], 50)
    >>> reference, earlier = seal(Records(rng.normal(size=1500), {"delay": rng.normal(size=1500)}), units)
    >>> len(earlier), [channel.key for channel in reference.channels][2:]
    (15, ['feature/level/delay', 'feature/missing/delay', 'feature/repeats/delay'])
    """
    keys = np.asarray(units).astype(str)
    if len(keys) != len(records):
        raise ValueError(f"{len(records)} records but {len(keys)} units")
    if len(np.unique(keys)) < FEWEST_UNITS:
        return Reference.fit(records, keys, categories=categories), ()
    later = reference_half(keys)
    reference = Reference.fit(records.take(~later), keys[~later], categories=categories)
    when = days or {}
    names = sorted(np.unique(keys[later]).tolist(), key=lambda unit: (when.get(unit, 0.0), unit))
    first = (reference.summarise(records.take(keys == unit), batch=unit, day=when.get(unit)) for unit in names)
    return reference, tuple(first)


def _keyed(part: str, name: str, values: Mapping[str, T]) -> dict[str, T]:
    return {f"{part}/{measure}/{name}": value for measure, value in values.items()}


def _given(columns: Mapping[str, NDArray[Any]], name: str, part: str) -> NDArray[Any]:
    if name not in columns:
        raise ValueError(f"the batch has no {part} column {name!r}, which the reference has")
    return columns[name]
