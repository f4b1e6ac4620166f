"""The calibration of one version: from the parts of log-likelihoods to scores, p-values and flags."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowguard.calibration import conformal
from flowguard.calibration.coverage import RateCheck, check_rate
from flowguard.calibration.parts import Parts
from flowguard.calibration.policy import FalseAlarmRate
from flowguard.calibration.scores import SCORES, Score, ScoreName, by_name
from flowguard.errors import BundleError, CalibrationError

Array = NDArray[np.float64]

VERSION = 2
_SCORER = "scorer."  # in front of the names of the score's own arrays

FEWEST_UNITS = 8
"""Units below which halves of whole units would be too uneven, and rows are split instead."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Fitted on held-out records that were neither trained on nor are being judged.

    `scorer` is what records are ranked by, fitted on one half of the held-out records where it ranks among them.
    `scores` (size,) are the sorted scores of the conformal reference, `score_units` (size,) the unit of each
    as a number. `counts` holds the held-out records per pattern, `rows` and `units` how many records and
    units were held out, `dates` their first and last date as text where the caller gave them.

    >>> rng = np.random.default_rng(0)
    >>> held_out = Parts(np.zeros(200), rng.normal(size=200), np.full(200, "1"))
    >>> calibration = Calibration.fit(held_out, np.arange(200), false_alarm_rate=0.05)
    >>> score = calibration.score(Parts([0.0, 0.0], [0.0, -9.0], ["1", "1"]))
    >>> calibration.flag(calibration.p_value(score)).tolist()
    [False, True]
    """

    scorer: Score
    policy: FalseAlarmRate
    scores: Array
    score_units: NDArray[np.int64]
    counts: Mapping[str, int]
    rows: int
    units: int
    dates: tuple[str, str] | None = None

    # -- fit -------------------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        parts: Parts,
        units: ArrayLike,
        *,
        false_alarm_rate: float,
        score: ScoreName = "default",
        dates: Sequence[str] | None = None,
    ) -> Calibration:
        """From held-out records and the unit (day, entity) of each, (n,).

        `score` names the score, see `flowguard.calibration.scores`; by default experts where several are mixed,
        else log_likelihood where all have one pattern and one mass, else mixed. A score that ranks is fitted on one
        half of the records, see `reference_half`, and the other half is the conformal reference; otherwise all records
        are. Raises `CalibrationError` when the records cannot support the rate, or the density has not what the score
        looks at.
        """
        keys = np.asarray(units).astype(str)
        if len(keys) != len(parts):
            raise ValueError(f"{len(parts)} records but {len(keys)} units")
        policy = FalseAlarmRate(false_alarm_rate)
        distinct, counts = np.unique(parts.pattern, return_counts=True)
        # Where nothing discrete varies, the densities compare as they are.
        plain = len(distinct) == 1 and parts.log_mass.min() == parts.log_mass.max()
        usual = "experts" if parts.expert_mass is not None else "log_likelihood" if plain else "mixed"
        chosen = by_name(score if score != "default" else usual)
        conformal_rows = np.ones(len(parts), dtype=bool)
        if chosen.ranks:
            conformal_rows = reference_half(keys)
            _check_half(policy, int(conformal_rows.sum()), len(parts), chosen.name)
        else:
            policy.check(len(parts))
        scorer = chosen.fit(parts.take(~conformal_rows))
        scores = scorer.score(parts.take(conformal_rows))
        _, unit_numbers = np.unique(keys, return_inverse=True)
        numbers = unit_numbers[conformal_rows].astype(np.int64)
        order = np.lexsort((numbers, scores))
        return cls(
            scorer=scorer,
            policy=policy,
            scores=scores[order],
            score_units=numbers[order],
            counts=dict(zip(distinct.tolist(), counts.tolist(), strict=True)),
            rows=len(parts),
            units=int(unit_numbers.max()) + 1,
            dates=(str(dates[0]), str(dates[-1])) if dates else None,
        )

    # -- figures ---------------------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """The name of the score."""
        return self.scorer.name

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

    def score(self, parts: Parts) -> Array:
        """Higher = stranger, shape (n,).

        Under log_likelihood a record of a pattern that no calibration record had is at least as strange as all of
        them, plus its -log_mass: its density does not compare with theirs. Its p-value is the smallest, as
        exchangeability allows: that the one record of another pattern among n + 1 is this one has probability
        1 / (n + 1). Scores that rank compare patterns themselves.
        """
        scores = self.scorer.score(parts)
        if self.scorer.ranks:
            return scores
        strange = ~np.isin(parts.pattern, list(self.counts))
        if strange.any():
            beyond = np.nextafter(self.scores[-1], np.inf)
            least = np.maximum(beyond, self.scores[-1] - parts.log_mass[strange])
            scores[strange] = np.maximum(scores[strange], least)
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
        scorer, arrays = self.scorer.to_state()
        state: dict[str, Any] = {
            "version": VERSION,
            "score": self.method,
            "scorer": scorer,
            "false_alarm_rate": self.false_alarm_rate,
            "counts": dict(self.counts),
            "rows": self.rows,
            "units": self.units,
            "dates": list(self.dates) if self.dates else None,
        }
        of_scorer = {f"{_SCORER}{name}": array for name, array in arrays.items()}
        return state, {"scores": self.scores, "score_units": self.score_units, **of_scorer}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Calibration:
        """The calibration that wrote `state`; raises `BundleError` when that has another layout."""
        if state.get("version") != VERSION:
            raise BundleError(f"the calibration has layout {state.get('version')!r}; this flowguard reads {VERSION}")
        if state["score"] not in SCORES:
            raise BundleError(f"the calibration has a score {state['score']!r} that this flowguard does not know")
        of_scorer = {name.removeprefix(_SCORER): part for name, part in arrays.items() if name.startswith(_SCORER)}
        return cls(
            scorer=SCORES[state["score"]].from_state(state["scorer"], of_scorer),
            policy=FalseAlarmRate(state["false_alarm_rate"]),
            scores=arrays["scores"],
            score_units=arrays["score_units"],
            counts=dict(state["counts"]),
            rows=state["rows"],
            units=state["units"],
            dates=tuple(state["dates"]) if state["dates"] else None,
        )


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


def _check_half(policy: FalseAlarmRate, half: int, rows: int, score: str) -> None:
    try:
        policy.check(half)
    except CalibrationError as error:
        raise CalibrationError(
            f"{error} (of {rows:,} records held out, one half is what the score `{score}` ranks among, "
            "and the other half is the reference)"
        ) from None
