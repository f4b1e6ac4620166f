"""Does the rate that was asked for hold? Observed against asked, with an honest standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from flowguard.calibration.clustered import variance_of_mean


@dataclass(frozen=True)
class RateCheck:
    """The flagged share of held-out records beside the rate asked for; `within` three standard errors."""

    asked: float
    observed: float
    standard_error: float
    records: int
    units: int
    within: bool


def check_rate(
    flags_holdout: ArrayLike,
    units_holdout: ArrayLike,
    flags_calibration: ArrayLike,
    units_calibration: ArrayLike,
    asked: float,
) -> RateCheck:
    """Compare the flagged share of held-out records with `asked`.

    The flags are those of the same threshold on both samples. The calibration's own flagged share is fixed by
    the threshold; its standard error is that of the threshold put as a rate: to first order (Bahadur 1966)
    the rate beyond an estimated quantile errs as the share beyond the true one does. So se^2 = se_holdout^2 +
    se_calibration^2.

    Records of one unit (a day) are alike, so each part is the variance of a mean over units, see `clustered`; never
    less than the binomial's asked (1 - asked) / N, which is also all there is of one unit.

    >>> flags, days = [True] + [False] * 99, list(range(100))
    >>> check_rate(flags, days, flags, days, 0.01).within
    True
    """
    flags = np.asarray(flags_holdout, dtype=bool)
    if not len(flags):
        raise ValueError("no held-out record to check the rate on")
    observed = float(flags.mean())
    variance = _variance(flags, units_holdout, asked) + _variance(
        np.asarray(flags_calibration, dtype=bool), units_calibration, asked
    )
    error = math.sqrt(variance)
    return RateCheck(
        asked=asked,
        observed=observed,
        standard_error=error,
        records=len(flags),
        units=len(np.unique(np.asarray(units_holdout))),
        within=abs(observed - asked) <= 3 * error,
    )


def _variance(flags: np.ndarray, units: ArrayLike, asked: float) -> float:
    if not len(flags):
        raise ValueError("no calibration record to take the threshold's error from")
    binomial = asked * (1 - asked) / len(flags)
    variance, groups = variance_of_mean(flags, units)
    return binomial if groups < 2 else max(binomial, variance)
