"""Shares of anomalies among records of which some were decided, batch by batch, with intervals.

Batches are strata: each has a number of records (flagged, or unflagged) of which a few were decided. A batch counts by
its number of records, not by how many of them somebody had time for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

CONFIDENCE = 0.95
ENOUGH = 20
"""From so many decided records on, an estimate is shown beside a version."""


@dataclass(frozen=True)
class Stratum:
    """One batch: of `size` records `decided` were decided (confirmed or false alarm), `anomalies` of them confirmed."""

    size: int
    decided: int
    anomalies: int
    unsure: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.anomalies <= self.decided <= self.size:
            raise ValueError(f"A stratum has anomalies <= decided <= size, not {self}.")


@dataclass(frozen=True)
class Share:
    """An estimated share of anomalies, between `low` and `high` with the confidence asked for; None where unknown.

    It is of the `size` records in the `batches` of which at least one was decided: `decided` were, `anomalies` of them
    confirmed; `unsure` are left out.
    """

    estimate: float | None
    low: float | None
    high: float | None
    size: int
    batches: int
    decided: int
    anomalies: int
    unsure: int

    def __str__(self) -> str:
        if self.estimate is None or self.low is None or self.high is None:
            return "unknown"
        return f"{_percent(self.estimate)} % ({_percent(self.low)} to {_percent(self.high)} %)"

    @property
    def bounds(self) -> tuple[float, float] | None:
        """What the share is at least and at most, whatever the records are that were not decided; nothing is assumed.

        >>> share([Stratum(size=10, decided=4, anomalies=3)]).bounds
        (0.3, 0.9)
        """
        if not self.size:
            return None
        return self.anomalies / self.size, (self.size - self.decided + self.anomalies) / self.size

    @property
    def enough(self) -> bool:
        """Whether there are enough verdicts to show it beside a version."""
        return self.decided >= ENOUGH


def share(strata: Sequence[Stratum], *, confidence: float = CONFIDENCE) -> Share:
    """The share of anomalies among the records of `strata`, of each of which some were decided.

    The estimate weighs each batch by its size: sum_b W_b (anomalies_b / decided_b), W_b = size_b / sum of sizes. Law:
    where the decided of each batch are a random sample of it, low <= share <= high with at least the `confidence`,
    whatever the batches' own shares are and however many were decided in each.

    Where each decided record stands for equally many, the interval is Clopper and Pearson's (1934): a sum of
    independent indicators with unequal probabilities lies in the tails no more often than the binomial of the same
    mean (Hoeffding 1956), which covers sampling without replacement. In one corner, all but one found or all but one
    not, an end misses with -log(1 - tail), 2.53 % for 2.5 %. Where they stand for unequally many, it is Chernoff's
    bound for the weighted sum, maximised over all shares of the batches that agree with the whole. With nearly equal
    weights that is 0 (nothing found) to 30 % wider than Clopper and Pearson's.

    >>> share([Stratum(size=1000, decided=100, anomalies=0)]).high  # doctest: +ELLIPSIS
    0.03621...
    """
    if not 0 < confidence < 1:
        raise ValueError(f"A confidence is between 0 and 1, not {confidence}.")
    unsure = sum(stratum.unsure for stratum in strata)
    known = [stratum for stratum in strata if stratum.decided]
    size, decided = sum(stratum.size for stratum in known), sum(stratum.decided for stratum in known)
    anomalies = sum(stratum.anomalies for stratum in known)
    if not known:
        return Share(None, None, None, 0, 0, 0, 0, unsure)
    weight = np.array([stratum.size / size for stratum in known])
    draws = np.array([stratum.decided for stratum in known], dtype=np.float64)
    found = np.array([stratum.anomalies for stratum in known], dtype=np.float64)
    estimate = float(min(1.0, (weight * found / draws).sum()))
    tail = (1 - confidence) / 2
    if np.ptp(weight / draws) <= 1e-9 * float((weight / draws).max()):
        low, high = _clopper_pearson(anomalies, decided, tail)
    else:
        high = highest(weight, draws, estimate, tail)
        low = 1 - highest(weight, draws, float((weight * (draws - found) / draws).sum()), tail)
    return Share(estimate, min(low, estimate), max(high, estimate), size, len(known), decided, anomalies, unsure)


def _clopper_pearson(found: int, draws: int, tail: float) -> tuple[float, float]:
    low = 0.0 if found == 0 else float(betaincinv(found, draws - found + 1, tail))
    high = 1.0 if found == draws else float(betaincinv(found + 1, draws - found, 1 - tail))
    return low, high


def highest(weight: np.ndarray, draws: np.ndarray, estimate: float, tail: float) -> float:
    """The largest share under which the estimate, or less, has at least the probability `tail` by Chernoff's bound.

    `weight` (b,) sums to 1, `draws` (b,) were drawn of each batch. It holds for means of any numbers in [0, 1] as for
    shares: none has a larger moment generating function than the indicator of the same mean (Hoeffding 1963).

    For every l > 0, log P(T <= t) <= l t + sum_b d_b log(1 - p_b c_b) with c_b = 1 - exp(-l W_b / d_b). The share
    sum_b W_b p_b is maximised subject to that being at least log(tail): p_b = (1 - d_b c_b nu / W_b) / c_b, cut to
    [0, 1], with the nu at which the bound is tight. The smallest over l holds, as the events for all l are nested.
    """
    steps = np.geomspace(1e-2, 1e4, 121)[:, None] / float((weight / draws).max())
    cost = -np.expm1(-steps * weight / draws)  # c, one line per l
    room = -math.log(tail) + steps[:, 0] * estimate  # how far below 0 the sum of logs may lie

    def shares(nu: np.ndarray) -> np.ndarray:
        return np.clip((1 - draws * cost * nu[:, None] / weight) / cost, 0.0, 1.0)

    # The shares fall as nu grows: at the largest ratio all are 0, which always fits.
    low, high = np.zeros(len(steps)), (weight / (draws * cost)).max(axis=1)
    for _ in range(80):
        middle = (low + high) / 2
        with np.errstate(divide="ignore"):
            spent = -(draws * np.log1p(-np.minimum(shares(middle) * cost, 1.0))).sum(axis=1)
        fits = spent <= room
        high, low = np.where(fits, middle, high), np.where(fits, low, middle)
    # `low` does not fit, so that the true maximum lies below what it gives.
    return float(min(1.0, (shares(low) * weight).sum(axis=1).min()))


def _percent(share: float) -> str:
    """Two digits are more than an interval from some tens of verdicts supports.

    >>> _percent(1.0), _percent(0.1234), _percent(0.000287)
    ('100', '12', '0.029')
    """
    return f"{100 * share:.0f}" if share >= 0.0995 else f"{100 * share:.2g}"
