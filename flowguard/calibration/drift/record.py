"""The drift record of one batch: what the page shows and the store keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowguard.calibration.drift.naming import Drift


@dataclass(frozen=True)
class DriftRecord:
    """One batch among all earlier ones.

    `alarms` are the keys of channels whose martingale reached `threshold` (log) with this batch, and `drift` what they
    are named; both empty on most days. `log_martingales` by channel, before alarmed ones restart. `p_value` of the
    batch by itself, two-sided, `extrapolated` beyond the ranks, and `flagged` with the sentence that says how it is
    odd. `score_shares`, `groups`, and by column `missing` and `unseen`: the plain shares of this batch.
    """

    batch: str
    records: int
    alarms: tuple[str, ...]
    drift: Drift | None
    log_martingales: Mapping[str, float]
    threshold: float
    p_value: float
    extrapolated: bool
    flagged: bool
    sentence: str
    score_shares: tuple[float, ...]
    groups: Mapping[str, float] | None
    missing: Mapping[str, float]
    unseen: Mapping[str, float]
    day: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` of it is equal."""
        state = {**self.__dict__, "alarms": list(self.alarms), "score_shares": list(self.score_shares)}
        state["drift"] = None if self.drift is None else self.drift.to_json()
        for name in ("log_martingales", "missing", "unseen"):
            state[name] = dict(getattr(self, name))
        state["groups"] = None if self.groups is None else dict(self.groups)
        return state

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> DriftRecord:
        named = state["drift"]
        drift = None if named is None else Drift(named["kind"], named["sentence"], tuple(named["columns"]))
        tuples = {name: tuple(state[name]) for name in ("alarms", "score_shares")}
        return cls(**{**state, **tuples, "drift": drift})

    @property
    def odds(self) -> float:
        """The largest martingale over its threshold; an alarm is 1 or more."""
        highest = max(self.log_martingales.values(), default=-math.inf)
        return math.exp(min(700.0, highest - self.threshold))
