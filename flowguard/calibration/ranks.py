"""p-values and thresholds within one calibration cell: by rank, by weighted rank, by lot among ties, by a tail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration import conformal
from flowguard.calibration.extrapolate import Tail
from flowguard.calibration.policy import FalseAlarmRate
from flowguard.calibration.weighted import weighted_p_value, weighted_size

Array = NDArray[np.float64]


def ranked(
    reference: Array, score: Array, *, weights: Array | None = None, lot: Array | None = None, tail: Tail | None = None
) -> tuple[Array, NDArray[np.bool_]]:
    """p-values of `score` (m,) among the sorted `reference` (n,), and which of them a `tail` model gave.

    At most one of the others is given: `weights` (n,) of the reference, `lot` (m,) in (0, 1) that breaks ties.
    """
    none = np.zeros(len(score), dtype=bool)
    if tail is not None:
        found = tail.p_value(score)
        return found.values, none if found.extrapolated is None else found.extrapolated
    if weights is not None:
        return weighted_p_value(reference, weights, score).values if len(reference) else np.ones(len(score)), none
    if lot is not None:
        return conformal.smoothed_p_value(reference, score, lot), none
    return conformal.p_value(reference, score), none


def threshold_at(rate: float, reference: Array, *, weights: Array | None = None, tail: Tail | None = None) -> float:
    """The score above which (strictly) a p-value is at most `rate`; infinite where weights do not reach so far.

    >>> scores = np.arange(1.0, 10.0)
    >>> threshold_at(0.2, scores), threshold_at(0.2, scores, weights=np.full(9, 0.5))
    (8.0, 9.0)
    """
    if weights is not None:
        if 1 / (1 + weights.sum()) > rate:
            return float("inf")
        beyond = np.append(np.cumsum(weights[::-1])[::-1][1:], 0.0)
        return float(reference[np.argmax((1 + beyond) / (1 + weights.sum()) <= rate)])
    if tail is not None and rate < conformal.smallest_level(len(reference)):
        return tail.threshold_at(rate)
    return FalseAlarmRate(rate).threshold(reference)


def size_of(reference: Array, weights: Array | None = None) -> float:
    """How many equal records would reach as small a p-value."""
    if weights is None:
        return len(reference)
    return float(weighted_size(weights)) if weights.any() else 0.0
