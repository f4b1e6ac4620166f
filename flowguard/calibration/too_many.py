"""Are more held-out records flagged than were asked for? A test of a calibration that counts its own randomness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, ndtri, stdtrit

from flowguard.calibration.clustered import variance_of_mean

TOLD = 5.0
"""Held-out records say something of a rate if one of so many times what was asked would be told."""


@dataclass(frozen=True)
class FlaggedShare:
    """The flagged share of `records` held-out records; from `limit` on it is more than chance does at the level asked.

    `limit` is infinite where no share would be. `chance` is the probability of so many or more where the calibration
    keeps what it promises. `counted` is how many independent records they are worth.
    """

    asked: float
    observed: float
    limit: float
    chance: float
    records: int
    flagged: int
    counted: int

    @property
    def too_many(self) -> bool:
        """Whether more are flagged than chance does."""
        return self.observed >= self.limit

    @property
    def conclusive(self) -> bool:
        """Whether a rate of `TOLD` times what was asked would be told."""
        return self.limit <= TOLD * self.asked


def too_many(
    flags_holdout: ArrayLike,
    units_holdout: ArrayLike,
    flags_calibration: ArrayLike,
    units_calibration: ArrayLike,
    *,
    asked: float,
    level: float,
    lots: bool = False,
) -> FlaggedShare:
    """Compare the flagged share of held-out records with `asked`; too many is told wrongly with probability `level`.

    A record is flagged where at most k - 1 of n calibration scores are as high, k = floor(asked (n + 1)). The share of
    ordinary records that this flags is itself random: Beta(k, n + 1 - k) over calibrations (Vovk 2012, "Conditional
    validity of inductive conformal predictors", 2a), so that of m held-out records X ~ BetaBinomial(m, k, n + 1 - k)
    are flagged. Ties that count against a record flag fewer. Where `lots` break ties one rank more may be flagged, and
    k is one more. Where k is below 1, flags come from a model of the tail: it is taken at its word, k = asked (n + 1).

    Records of one unit (a day) are alike. Both samples count as many independent records as give the variance that
    their units show, n / d with the design effect d of Kish (1965), less what so few units leave unknown of d itself:
    times (z / t)^2, t with G - 1 degrees of freedom (Korn & Graubard 1998, "Confidence intervals for proportions with
    small expected number of positive counts"). Where each record is a unit, the test is exact.

    >>> flags, calm = np.arange(1000) < 18, np.arange(1000) < 10
    >>> found = too_many(flags, np.arange(1000), calm, np.arange(1000), asked=0.01, level=0.01)
    >>> found.too_many, found.limit, round(found.chance, 3)
    (False, 0.023, 0.06)
    """
    flags, reference = np.asarray(flags_holdout, dtype=bool), np.asarray(flags_calibration, dtype=bool)
    if not len(flags) or not len(reference):
        raise ValueError("a rate is compared on at least one held-out and one calibration record")
    n = len(reference)
    # Rounded, as 0.07 * 100 is a little more than 7.
    k = math.floor(round(asked * (n + 1), 9)) + lots
    ranks = min(float(k), n) if k >= 1 else asked * (n + 1)
    counted = max(1, math.floor(len(flags) / _design(flags, units_holdout, level)))
    weight = 1 / _design(reference, units_calibration, level)
    tail = _tail(counted, ranks * weight, (n + 1 - ranks) * weight)
    beyond = int(np.argmax(tail <= level)) if (tail <= level).any() else None
    observed = float(flags.mean())
    return FlaggedShare(
        asked=asked,
        observed=observed,
        limit=math.inf if beyond is None else beyond / counted,
        chance=float(tail[min(math.ceil(round(observed * counted, 9)), counted)]),
        records=len(flags),
        flagged=int(flags.sum()),
        counted=counted,
    )


def _design(flags: NDArray[np.bool_], units: ArrayLike, level: float) -> float:
    """By how much fewer independent records give the same error; all count as one where they are of one unit."""
    n = len(flags)
    variance, groups = variance_of_mean(flags, units)
    if groups == n:
        return 1.0
    if groups < 2:
        return float(n)
    share = float(flags.mean())
    effect = max(1.0, variance * n / (share * (1 - share))) if 0 < share < 1 else 1.0
    return min(float(n), effect * float(stdtrit(groups - 1, 1 - level) / ndtri(1 - level)) ** 2)


def _tail(m: int, a: float, b: float) -> NDArray[np.float64]:
    """P(X >= x) for x = 0, ..., m of X ~ BetaBinomial(m, a, b)."""
    x = np.arange(m + 1)
    log_mass = betaln(x + a, m - x + b) - betaln(a, b) - betaln(m - x + 1, x + 1) - math.log(m + 1)
    return np.asarray(np.minimum(np.cumsum(np.exp(log_mass)[::-1])[::-1], 1.0))
