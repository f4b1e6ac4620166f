"""What is remembered of one batch: small, and of a fixed size however many records it has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BatchSummary:
    """One batch against the sealed reference; everything by channel key.

    `statistics` are what is ranked among batches, in usual standard deviations; a channel with nothing to say of this
    batch is left out. `figures` are plain (a median in the column's units, a share), `details` name the value or level
    a figure is about. `score_shares` are the shares of records within each tenth of the reference's scores, `groups`
    those of the calibration cells. `day` is a date as a number of days, where batches have one: seasons are told by it.

    An empty batch has no statistics, and adds nothing.
    """

    batch: str
    records: int
    statistics: Mapping[str, float]
    figures: Mapping[str, float]
    details: Mapping[str, str]
    score_shares: tuple[float, ...] = ()
    groups: Mapping[str, float] | None = None
    day: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` of it is equal."""
        return {
            "batch": self.batch,
            "records": self.records,
            "statistics": dict(self.statistics),
            "figures": dict(self.figures),
            "details": dict(self.details),
            "score_shares": list(self.score_shares),
            "groups": None if self.groups is None else dict(self.groups),
            "day": self.day,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> BatchSummary:
        return cls(**{**state, "score_shares": tuple(state["score_shares"])})


def known(values: Mapping[str, float]) -> dict[str, float]:
    """Without those that are not finite: JSON has none."""
    return {key: float(value) for key, value in values.items() if math.isfinite(value)}
