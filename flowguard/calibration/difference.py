"""Is one model worse than another on the same records? Paired differences, with a margin that does not matter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from flowguard.calibration.clustered import variance_of_mean

Array = NDArray[np.float64]
Answer = Literal["worse", "no worse", "unsure"]


@dataclass(frozen=True)
class Difference:
    """A mean difference, the new one's less the old one's, higher = better; `degrees` of freedom has its error."""

    mean: float
    standard_error: float
    degrees: int

    def answer(self, *, margin: float, level: float) -> Answer:
        """Whether the new one is worse by more than `margin`: each answer but "unsure" errs with at most `level`.

        Worse: the difference lies below -margin by a one-sided t test. No worse: it lies above it by one, a test of
        non-inferiority. Unsure: the records tell neither.

        >>> Difference(-0.02, 0.001, 99).answer(margin=0.05, level=0.01)
        'no worse'
        >>> Difference(-0.02, 0.1, 99).answer(margin=0.05, level=0.01)
        'unsure'
        """
        if self.degrees < 1 or not math.isfinite(self.standard_error):
            return "unsure"
        reach = float(stdtrit(self.degrees, 1 - level)) * self.standard_error
        if self.mean + reach < -margin:
            return "worse"
        return "no worse" if self.mean - reach >= -margin else "unsure"


def mean_difference(new: ArrayLike, old: ArrayLike, units: ArrayLike) -> Difference:
    """Of the same records (n,), with an error clustered by `units`: records of one unit (a day) are alike.

    >>> mean_difference([1.0, 2.0, 4.0], [1.0, 1.0, 2.0], ["a", "b", "c"]).mean
    1.0
    """
    apart = np.asarray(new, dtype=np.float64) - np.asarray(old, dtype=np.float64)
    if not len(apart):
        raise ValueError("no record to compare two models on")
    variance, groups = variance_of_mean(apart, units)
    return Difference(float(apart.mean()), math.sqrt(variance), groups - 1)


@dataclass(frozen=True)
class AurocDifference:
    """How often each of two models ranks an anomaly above an ordinary record, and the difference of both."""

    new: float
    old: float
    difference: Difference


def auroc_difference(
    anomalies: tuple[Array, Array],
    ordinary: tuple[Array, Array],
    *,
    batches: ArrayLike,
    units: ArrayLike,
) -> AurocDifference:
    """Two models' scores, (new, old), of the same anomalies (m,) and the same ordinary records (n,).

    The variance of the difference is that of its structural components, each record's share of the other kind that it
    is on the right side of (DeLong, DeLong & Clarke-Pearson 1988), summed by batch of the anomalies and unit of the
    ordinary records (Obuchowski 1997, "Nonparametric analysis of clustered ROC curve data"), and never less than by
    record. The t has m - 1 degrees of freedom: anomalies are the few.

    >>> found = auroc_difference(
    ...     (np.array([3.0, 4.0]), np.array([3.0, 0.5])), (np.array([1.0, 2.0]), np.array([1.0, 2.0])),
    ...     batches=["a", "b"], units=[1, 2])
    >>> found.new, found.old
    (1.0, 0.5)
    """
    above = [_below(strange, usual) for strange, usual in zip(anomalies, ordinary, strict=True)]
    under = [1 - _below(usual, strange) for strange, usual in zip(anomalies, ordinary, strict=True)]
    variance = 0.0
    for (new, old), clusters in ((above, batches), (under, units)):
        by_record, _ = variance_of_mean(new - old, np.arange(len(new)))
        by_cluster, groups = variance_of_mean(new - old, clusters)
        variance += max(by_record, by_cluster if groups > 1 else 0.0)
    means = [float(one.mean()) for one in above]
    return AurocDifference(means[0], means[1], Difference(means[0] - means[1], math.sqrt(variance), len(above[0]) - 1))


def _below(score: Array, others: Array) -> Array:
    """The share of `others` that lie below each score; ties count half."""
    ordered = np.sort(others)
    places = [np.searchsorted(ordered, score, side=side) for side in ("left", "right")]
    return np.asarray((places[0] + places[1]) / (2 * len(ordered)))
