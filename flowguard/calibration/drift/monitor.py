"""Watches batches as they come: state and batch in, state and drift record out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from flowguard.calibration.drift.batch_test import batch_p_value
from flowguard.calibration.drift.channel import FAULTS, Channel
from flowguard.calibration.drift.martingale import Capital, coin, rank, threshold
from flowguard.calibration.drift.naming import Drift, Moved, name_drift
from flowguard.calibration.drift.onset import above, effect, onset, pooled, slow
from flowguard.calibration.drift.record import DriftRecord
from flowguard.calibration.drift.reference import Reference
from flowguard.calibration.drift.summary import BatchSummary
from flowguard.errors import BundleError

Array = NDArray[np.float64]

VERSION = 2

FOLLOWS = 3.5
"""Standard errors from which a context has moved with a channel that alarmed, though it has not alarmed itself."""

OWN = 0.05
"""For features, the chance that any does: where what is conditional moved and the context did not, one of them must,
unless only how they depend on each other changed."""

SETTLES = 5.0, math.log(20)
"""More standard errors for what would settle the name, faults and conditional channels; or a martingale of 20."""

RECENT = 30
"""Batches for which a channel that alarmed still helps to name the next alarm: it restarted, and says nothing new."""


@dataclass(frozen=True, eq=False)
class DriftState:
    """All that was seen: what replaying the summaries gives again, to the bit.

    `statistics` (n, channels) are those that later batches rank among, NaN where a batch had none or its channel has
    restarted since; `figures` (n, channels) are the plain ones, for names alone, and `records` (n,) how many each batch
    had; `days` (n,) the batches' days, or their places. `alarmed` (channels,) is the place of the batch of the last
    alarm, -1 for none, `effects` (channels,) how far it had moved then.
    """

    batches: tuple[str, ...]
    days: Array
    records: Array
    statistics: Array
    figures: Array
    capital: Capital
    alarmed: NDArray[np.int64]
    effects: Array

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` of it goes on with the same bits."""
        return {
            "version": VERSION,
            "batches": list(self.batches),
            "days": self.days.tolist(),
            "records": self.records.tolist(),
            "statistics": _rows(self.statistics),
            "figures": _rows(self.figures),
            "capital": self.capital.to_json(),
            "alarmed": self.alarmed.tolist(),
            "effects": self.effects.tolist(),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> DriftState:
        """The state that wrote `state`; raises `BundleError` when that has another layout."""
        if state.get("version") != VERSION:
            raise BundleError(f"the drift state has layout {state.get('version')!r}; this flowguard reads {VERSION}")
        alarmed = np.array(state["alarmed"], dtype=np.int64)
        shape = len(state["batches"]), len(alarmed)
        return cls(
            batches=tuple(state["batches"]),
            days=np.array(state["days"], dtype=np.float64),
            records=np.array(state["records"], dtype=np.float64),
            statistics=np.array(state["statistics"], dtype=np.float64).reshape(shape),
            figures=np.array(state["figures"], dtype=np.float64).reshape(shape),
            capital=Capital.from_json(state["capital"]),
            alarmed=alarmed,
            effects=np.array(state["effects"], dtype=np.float64),
        )


@dataclass(frozen=True, eq=False)
class DriftMonitor:
    """The rule: which channels, and when they alarm. It holds no state.

    `chance` is P(any alarm, ever) on exchangeable batches, however often one looks. Batches count in the order in which
    they are observed; a weekly cycle or a season is no exchangeability, and is found sooner or later. A channel that
    alarmed restarts at 1 with nothing to rank among: what comes after is compared with what comes after. Each restart
    may alarm falsely with chance / channels again, so the expected number of false alarms is below
    chance / (1 - chance). `batch_rate` is the p-value at which a batch is flagged by itself.

    `pipeline` is one part of the key that ties are broken by; the others are the batch's name and the channel.

    >>> rng = np.random.default_rng(0)
    >>> from flowguard.calibration.drift import Records, seal
    >>> reference, earlier = seal(Records(rng.normal(size=6000)), np.repeat(np.arange(100, 160), 100))
    >>> monitor = DriftMonitor(reference, "flights")
    >>> state, record = monitor.begin(earlier), None
    >>> while record is None or not record.alarms:
    ...     day = Records(rng.normal(0.7, size=100))
    ...     summary = reference.summarise(day, batch=f"day {len(state.batches)}")
    ...     state, record = monitor.observe(state, summary)
    >>> record.drift.kind, record.alarms
    ('score', ('score/level/',))
    """

    reference: Reference
    pipeline: str
    chance: float = 0.01
    batch_rate: float = 0.001

    def __post_init__(self) -> None:
        if not 0 < self.batch_rate < 1:
            raise ValueError(f"batch_rate is {self.batch_rate}; expected a number between 0 and 1")
        threshold(len(self.channels), self.chance)

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self.reference.channels

    @property
    def threshold(self) -> float:
        """The log martingale of an alarm, log(channels / chance)."""
        return threshold(len(self.channels), self.chance)

    def begin(self, earlier: Iterable[BatchSummary] = ()) -> DriftState:
        """The state before the first batch. `earlier`, units as `seal` gives them, are only ranked among."""
        summaries = [summary for summary in earlier if summary.records]
        k = len(self.channels)
        statistics = np.array([self._by_channel(one.statistics) for one in summaries]).reshape(len(summaries), k)
        figures = np.array([self._by_channel(one.figures) for one in summaries]).reshape(len(summaries), k)
        records = np.array([one.records for one in summaries], dtype=np.float64)
        days = [place if one.day is None else one.day for place, one in enumerate(summaries)]
        return DriftState(
            batches=tuple(summary.batch for summary in summaries),
            days=np.array(days, dtype=np.float64),
            records=records,
            statistics=statistics,
            figures=figures,
            capital=Capital.new(k),
            alarmed=np.full(k, -1, dtype=np.int64),
            effects=np.zeros(k),
        )

    def observe(self, state: DriftState, summary: BatchSummary) -> tuple[DriftState, DriftRecord]:
        """The state after a batch, and its record. An empty batch leaves the state as it is.

        Raises ValueError for a batch that the state has seen: it would rank among itself.
        """
        if summary.batch in state.batches:
            raise ValueError(f"batch {summary.batch!r} has been observed already; replay from the summaries instead")
        if not summary.records:
            return state, self._record(summary, state.capital.log, (), None, 1.0, False, "")
        value = self._by_channel(summary.statistics)
        tested = batch_p_value(state.statistics[:, :2], value[:2])
        coins = np.array([coin(self.pipeline, summary.batch, key) for key in self._keys])
        capital = state.capital.bet(rank(state.statistics, value, coins))
        place = len(state.batches)
        after = DriftState(
            batches=(*state.batches, summary.batch),
            days=np.append(state.days, float(place) if summary.day is None else float(summary.day)),
            records=np.append(state.records, float(summary.records)),
            statistics=np.concatenate([state.statistics, value[None]]),
            figures=np.concatenate([state.figures, self._by_channel(summary.figures)[None]]),
            capital=capital,
            alarmed=state.alarmed,
            effects=state.effects,
        )
        alarms = capital.log >= self.threshold
        drift = None
        if alarms.any():
            moved, effects, slowly = self._moved(after, alarms, summary)
            drift = name_drift(moved, slowly=slowly)
            after = replace(
                after,
                statistics=np.where(alarms, np.nan, after.statistics),
                capital=capital.restart(alarms),
                alarmed=np.where(alarms, place, state.alarmed),
                effects=effects,
            )
        keys = tuple(key for key, alarm in zip(self._keys, alarms.tolist(), strict=True) if alarm)
        odd = _odd(tested.measure, tested.direction) if tested.p_value <= self.batch_rate else ""
        return after, self._record(summary, capital.log, keys, drift, tested.p_value, tested.beyond, odd)

    @cached_property
    def _keys(self) -> tuple[str, ...]:
        return tuple(channel.key for channel in self.channels)

    @cached_property
    def _follows(self) -> Array:
        """The standard errors (channels,) from which each has moved with one that alarmed."""
        own = [channel.part == "feature" and channel.measure not in FAULTS for channel in self.channels]
        least = float(ndtri(1 - OWN / 2 / max(1, sum(own))))
        settles = [channel.conditional or channel.measure in FAULTS for channel in self.channels]
        return np.where(own, least, np.where(settles, SETTLES[0], FOLLOWS))

    def _by_channel(self, values: Mapping[str, float]) -> Array:
        return np.array([values.get(key, math.nan) for key in self._keys], dtype=np.float64)

    def _moved(
        self, state: DriftState, alarms: NDArray[np.bool_], summary: BatchSummary
    ) -> tuple[list[Moved], Array, bool]:
        """What moved with the alarms, the effects to remember, and whether the context did slowly.

        `state` has the batch of the alarms as its last.
        """
        place, statistics, logs = len(state.batches) - 1, state.statistics, state.capital.log
        first = int(np.argmax(np.where(alarms, logs, -np.inf)))
        start = onset(statistics[:, first])
        effects = np.array([effect(statistics[:, k], start) for k in range(len(alarms))])
        far = np.abs(effects)
        follows = (far >= self._follows) | ((far >= FOLLOWS) & (logs >= SETTLES[1]))
        recent = (state.alarmed >= 0) & (place - state.alarmed <= RECENT) & ~alarms
        effects = np.where(recent, state.effects, effects)
        moved = []
        for k in np.flatnonzero(alarms | follows | recent).tolist():
            channel, detail = self.channels[k], summary.details.get(self._keys[k], "")
            since = onset(statistics[:, k]) if alarms[k] and channel.measure in FAULTS else start
            usual = self.reference.usual(channel, detail)
            if alarms[k] and state.alarmed[k] >= 0 and channel.measure == "missing":
                # It restarted: what it ranks among, and what "before" is, are the batches since.
                restarted = pooled(state.figures[:, k], state.records, int(state.alarmed[k]) + 1, since)
                usual = usual if math.isnan(restarted) else restarted
            moved.append(
                Moved(
                    channel=channel,
                    alarm=bool(alarms[k] or recent[k]),
                    effect=float(effects[k]),
                    log_martingale=float(logs[k]),
                    observed=self._observed(channel, state.figures[:, k], state.records, since),
                    usual=usual,
                    detail=detail,
                    batches=place + 1 - since,
                    above=above(statistics[:, k], since),
                    recent=bool(recent[k]),
                )
            )
        contexts = [k for k in range(len(alarms)) if self.channels[k].of_context]
        # A context that alarmed a while ago has nothing left to be judged by.
        judged = [k for k in contexts if (alarms | follows)[k] and not recent[k]]
        slowly = bool(judged) and slow(state.days, statistics[:, max(judged, key=lambda k: abs(effects[k]))])
        return moved, np.where(alarms, effects, state.effects), slowly

    def _observed(self, channel: Channel, figures: Array, records: Array, since: int) -> float:
        """The plain figure of the batches since the onset: shares of all their records, the middle of medians.

        Of the last batch alone where batches have theirs of different values or levels.
        """
        if channel.measure in ("mix", "repeats"):
            return float(figures[-1])
        if channel.part != "score" and channel.measure == "level":
            known = figures[since:][~np.isnan(figures[since:])]
            return float(np.median(known)) if len(known) else math.nan
        return pooled(figures, records, since)

    def _record(
        self,
        summary: BatchSummary,
        logs: Array,
        alarms: tuple[str, ...],
        drift: Drift | None,
        p_value: float,
        beyond: bool,
        sentence: str,
    ) -> DriftRecord:
        return DriftRecord(
            batch=summary.batch,
            records=summary.records,
            alarms=alarms,
            drift=drift,
            log_martingales=dict(zip(self._keys, logs.tolist(), strict=True)),
            threshold=self.threshold,
            p_value=p_value,
            extrapolated=beyond,
            flagged=bool(sentence),
            sentence=sentence,
            score_shares=summary.score_shares,
            groups=summary.groups,
            missing=_by_column(summary, "missing"),
            unseen=_by_column(summary, "unseen"),
            day=summary.day,
        )


def _rows(values: Array) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in values.tolist()]


def _by_column(summary: BatchSummary, measure: str) -> dict[str, float]:
    found = ((Channel.from_key(key), value) for key, value in summary.figures.items())
    return {channel.column: value for channel, value in found if channel.measure == measure}


def _odd(measure: str, direction: int) -> str:
    if measure == "level":
        how = "stranger" if direction > 0 else "more ordinary"
        return f"the batch as a whole is {how} than earlier ones"
    how = "more" if direction > 0 else "less"
    return f"the scores of this batch differ {how} among themselves than those of earlier ones"
