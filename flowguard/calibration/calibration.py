"""The calibration of one version: from log-likelihoods to scores, p-values and flags."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowguard.calibration import conformal
from flowguard.calibration.coverage import RateCheck, check_rate
from flowguard.calibration.policy import FalseAlarmRate
from flowguard.calibration.tail import TAIL_ARRAYS, TailRank
from flowguard.errors import BundleError, CalibrationError, FlowguardError

Array = NDArray[np.float64]
Method = Literal["log_likelihood", "mixed", "largest"]

VERSION = 1
_LEAST = -1e300  # a log-likelihood of -inf is held here, so that scores stay finite and their order exact
FEWEST_UNITS = 8
"""Units below which halves of whole units would be too uneven, and rows are split instead."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Fitted on held-out records that were neither trained on nor are being judged.

    `scores` (size,) are the sorted scores of the conformal reference, `score_units` (size,) the unit of each
    as a number. `counts` holds the held-out records per pattern, `rows` and `units` how many records and
    units were held out, `dates` their first and last date as text where the caller gave them.

    >>> rng = np.random.default_rng(0)
    >>> held_out = rng.normal(size=200)
    >>> mass, pattern, units = np.zeros(200), np.full(200, "1"), np.arange(200)
    >>> calibration = Calibration.fit(mass, held_out, pattern, units, false_alarm_rate=0.05)
    >>> score = calibration.score(np.zeros(2), np.array([0.0, -9.0]), np.array(["1", "1"]))
    >>> calibration.flag(calibration.p_value(score)).tolist()
    [False, True]
    """

    method: Method
    policy: FalseAlarmRate
    scores: Array
    score_units: NDArray[np.int64]
    tails: tuple[TailRank, ...]
    counts: Mapping[str, int]
    rows: int
    units: int
    dates: tuple[str, str] | None = None

    # -- fit -------------------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        log_mass: ArrayLike,
        log_density: ArrayLike,
        pattern: ArrayLike,
        units: ArrayLike,
        *,
        false_alarm_rate: float,
        score: Method | Literal["default"] = "default",
        terms: ArrayLike | None = None,
        dates: Sequence[str] | None = None,
    ) -> Calibration:
        """Held-out records: log-probability and log-density parts, pattern and unit (day, entity), each (n,).

        `score` chooses the method; by default -log_likelihood where all have one pattern and one mass, else mixed. With
        -log_likelihood all records are the conformal reference; otherwise `reference_half` says which half
        gives the tail ranks and which the p-values. `terms` (n, columns) are each column's log densities,
        which `largest` needs. Raises `CalibrationError` when the records cannot support the rate,
        `FlowguardError` when a log-likelihood is no number.
        """
        mass, density, names = _checked(log_mass, log_density, pattern)
        keys = np.asarray(units).astype(str)
        if len(keys) != len(mass):
            raise ValueError(f"{len(mass)} records but {len(keys)} units")
        policy = FalseAlarmRate(false_alarm_rate)
        distinct, counts = np.unique(names, return_counts=True)
        # Where nothing discrete varies, the densities compare as they are.
        plain = len(distinct) == 1 and mass.min() == mass.max()
        method: Method = score if score != "default" else "log_likelihood" if plain else "mixed"
        conformal_rows = np.ones(len(mass), dtype=bool)
        tails: tuple[TailRank, ...] = ()
        if method == "log_likelihood":
            policy.check(len(mass))
            scores = -(mass + density)
        else:
            conformal_rows = reference_half(keys)
            _check_half(policy, int(conformal_rows.sum()), len(mass))
            parts = _ranked_parts(method, density, names, terms)
            tails = tuple(TailRank.fit(values[~conformal_rows], seen[~conformal_rows]) for values, seen in parts)
            scores = _surprise(method, mass, tails, parts)
        scores = scores[conformal_rows]
        _, unit_numbers = np.unique(keys, return_inverse=True)
        numbers = unit_numbers[conformal_rows].astype(np.int64)
        order = np.lexsort((numbers, scores))
        return cls(
            method=method,
            policy=policy,
            scores=scores[order],
            score_units=numbers[order],
            tails=tails,
            counts=dict(zip(distinct.tolist(), counts.tolist(), strict=True)),
            rows=len(mass),
            units=int(unit_numbers.max()) + 1,
            dates=(str(dates[0]), str(dates[-1])) if dates else None,
        )

    # -- figures ---------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Records in the conformal reference."""
        return len(self.scores)

    @property
    def false_alarm_rate(self) -> float:
        return self.policy.rate

    @property
    def smallest_level(self) -> float:
        """The smallest p-value there can be."""
        return conformal.smallest_level(self.size)

    @cached_property
    def threshold(self) -> float:
        """The score above which (strictly) a record is flagged."""
        return self.policy.threshold(self.scores)

    # -- use -------------------------------------------------------------------------------------------------

    def score(
        self, log_mass: ArrayLike, log_density: ArrayLike, pattern: ArrayLike, *, terms: ArrayLike | None = None
    ) -> Array:
        """Higher = stranger, shape (n,). Raises `FlowguardError` when a log-likelihood is no number.

        `mixed`: -log_mass - log tail rank of log_density within its pattern. `largest`: the largest of -log_mass and
        each column's -log tail rank among the reference records in which that column was observed, so that one
        absurd column does not drown in the noise of the others. `log_likelihood`: -(log_mass + log_density);
        there, a record of a pattern that no calibration record had is at least as strange as
        all of them, plus its -log_mass: its density does not compare with theirs. Its p-value is the
        smallest, as exchangeability allows: that the one record of another pattern among n + 1 is this one
        has probability 1 / (n + 1).
        """
        mass, density, names = _checked(log_mass, log_density, pattern)
        if self.method != "log_likelihood":
            return _surprise(self.method, mass, self.tails, _ranked_parts(self.method, density, names, terms))
        scores = -(mass + density)
        strange = ~np.isin(names, list(self.counts))
        if strange.any():
            beyond = np.nextafter(self.scores[-1], np.inf)
            scores[strange] = np.maximum(scores[strange], np.maximum(beyond, self.scores[-1] - mass[strange]))
        return scores

    def p_value(self, score: ArrayLike) -> Array:
        """(1 + reference scores at least as high) / (size + 1). Raises ValueError on NaN."""
        return conformal.p_value(self.scores, np.asarray(score, dtype=np.float64))

    def flag(self, p_value: ArrayLike) -> NDArray[np.bool_]:
        """Which records the policy flags. Raises ValueError on NaN."""
        return self.policy.flag(np.asarray(p_value, dtype=np.float64))

    def group(self, n: int) -> NDArray[np.str_]:
        """The calibration cell of each of `n` records; there is one, "all"."""
        return np.full(n, "all")

    def check_rate(self, flags: ArrayLike, units: ArrayLike) -> RateCheck:
        """`coverage.check_rate` of held-out records against this calibration's own reference."""
        return check_rate(flags, units, self.scores > self.threshold, self.score_units, self.false_alarm_rate)

    # -- on disk ---------------------------------------------------------------------------------------------

    def to_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON and arrays; `from_state` of them gives the same bits."""
        state: dict[str, Any] = {
            "version": VERSION,
            "method": self.method,
            "false_alarm_rate": self.false_alarm_rate,
            "counts": dict(self.counts),
            "rows": self.rows,
            "units": self.units,
            "dates": list(self.dates) if self.dates else None,
            "tails": [],
        }
        arrays: dict[str, np.ndarray] = {"scores": self.scores, "score_units": self.score_units}
        for place, tail in enumerate(self.tails):
            tail_state, tail_arrays = tail.to_state()
            state["tails"].append(tail_state)
            arrays.update({f"{place}.{name}": array for name, array in tail_arrays.items()})
        return state, arrays

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Calibration:
        """The calibration that wrote `state`; raises `BundleError` when that has another layout."""
        if state.get("version") != VERSION:
            raise BundleError(f"the calibration has layout {state.get('version')!r}; this flowguard reads {VERSION}")
        return cls(
            method=state["method"],
            policy=FalseAlarmRate(state["false_alarm_rate"]),
            scores=arrays["scores"],
            score_units=arrays["score_units"],
            tails=tuple(
                TailRank.from_state(tail, {name: arrays[f"{place}.{name}"] for name in TAIL_ARRAYS})
                for place, tail in enumerate(state["tails"])
            ),
            counts=dict(state["counts"]),
            rows=state["rows"],
            units=state["units"],
            dates=tuple(state["dates"]) if state["dates"] else None,
        )


def _ranked_parts(
    method: Method, density: Array, names: NDArray[np.str_], terms: ArrayLike | None
) -> list[tuple[Array, NDArray[np.str_]]]:
    """What is ranked, each with its pattern: the density as a whole, or every column's by itself."""
    if method == "mixed":
        return [(density, names)]
    if terms is None:
        raise CalibrationError(
            "`score: largest` ranks each column by itself, and this density has no exact terms by column. "
            "Use `model.family: maf` with `order: single`, or another score."
        )
    columns = np.maximum(np.asarray(terms, dtype=np.float64), _LEAST)
    if np.isnan(columns).any():
        raise FlowguardError("a column's log density is no number")
    seen = np.ascontiguousarray(names.astype(f"U{columns.shape[1]}")).view("U1").reshape(columns.shape)
    return [(columns[:, place], seen[:, place]) for place in range(columns.shape[1])]


def _surprise(
    method: Method, mass: Array, tails: Sequence[TailRank], parts: Sequence[tuple[Array, NDArray[np.str_]]]
) -> Array:
    ranks = [-tail.log_rank(values, seen) for tail, (values, seen) in zip(tails, parts, strict=True)]
    if method == "mixed":
        return -mass + ranks[0]
    return np.maximum(-mass, np.max(ranks, axis=0))


def reference_half(units: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Which held-out records (n,) give conformal p-values; the others give the tail ranks.

    Whole units in the order of their hash, each to the half that has fewer records so far. With fewer than 8
    units single records are split, by their place in the table and a fixed seed. Neither rule looks at a value:
    a split that did, even at random, would leave a half of fixed ranks, and its p-values would not be valid.
    """
    names, places, sizes = np.unique(units, return_inverse=True, return_counts=True)
    if len(names) < FEWEST_UNITS:
        half = np.zeros(len(units), dtype=bool)
        half[np.random.default_rng(len(units)).permutation(len(units))[: (len(units) + 1) // 2]] = True
        return half
    digests = [hashlib.blake2b(name.encode(), digest_size=16).digest() for name in names.tolist()]
    chosen = np.zeros(len(names), dtype=bool)
    held = [0, 0]
    for unit in sorted(range(len(names)), key=digests.__getitem__):
        conformal_side = held[1] <= held[0]
        chosen[unit] = conformal_side
        held[conformal_side] += int(sizes[unit])
    return chosen[places]


def _checked(log_mass: ArrayLike, log_density: ArrayLike, pattern: ArrayLike) -> tuple[Array, Array, NDArray[np.str_]]:
    mass = np.asarray(log_mass, dtype=np.float64)
    density = np.asarray(log_density, dtype=np.float64)
    names = np.asarray(pattern, dtype=str)
    if not len(mass) == len(density) == len(names):
        raise ValueError(
            f"{len(mass)} log masses, {len(density)} log densities and {len(names)} patterns differ in length"
        )
    # NaN would compare as ordinary, and +inf would be the most ordinary record of all.
    broken = np.isnan(mass + density) | (mass == np.inf) | (density == np.inf)
    if broken.any():
        raise FlowguardError(f"{int(broken.sum()):,} of {len(mass):,} records have a log-likelihood that is no number")
    return np.maximum(mass, _LEAST), np.maximum(density, _LEAST), names


def _check_half(policy: FalseAlarmRate, half: int, rows: int) -> None:
    try:
        policy.check(half)
    except CalibrationError as error:
        raise CalibrationError(
            f"{error} (of {rows:,} records held out, half rank densities within their pattern, "
            "since the table has missing values, and the other half are the reference)"
        ) from None
