"""p-values below 1 / (n + 1): a generalised Pareto tail beyond the strangest reference records.

Pickands, "Statistical inference using extreme order statistics", Annals of Statistics 3 (1975): whatever the scores,
excesses over a high threshold come close to a generalised Pareto distribution,

    P(excess > x) = (1 + shape x / scale)^(-1 / shape),    exp(-x / scale) where shape = 0.

A model and no rank: nothing in finite samples promises that it holds where no record ever was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowguard.calibration import conformal
from flowguard.calibration.p_values import PValues
from flowguard.calibration.pareto import anderson_darling, posterior, zhang_stephens
from flowguard.errors import CalibrationError

Array = NDArray[np.float64]

FEWEST = 200
"""Reference scores below which there is no tail to speak of."""

FEWEST_EXCESSES, MOST_EXCESSES = 30, 1000
"""How many scores exceed the highest threshold that is tried, and at most the lowest."""

FEWEST_DISTINCT = 10
"""Different values among the excesses below which a continuous distribution says nothing of them."""

REACH = 100
"""Return periods of up to so many times n + 1 are the tail's; beyond them p-values ease off."""

_THRESHOLDS, _LARGEST_SHARE = 8, 0.1
_SIGNIFICANCE, _SIMULATIONS = 0.05, 199
_TINY = float(np.finfo(np.float64).tiny)
# Excesses in units of their median, kept from over- and underflow.
_RANGE = 1e-12, 1e12


@dataclass(frozen=True, eq=False)
class Tail:
    """The tail of `reference` (n,) sorted scores above `threshold`, which `exceedances` of them exceed.

    `shape` and `scale` of the generalised Pareto distribution, the scale in units of the score, are posterior means;
    `goodness_of_fit` is the p-value of their fit, small where it is bad.

    >>> tail = Tail.fit(np.random.default_rng(0).exponential(size=1000))
    >>> p = tail.p_value([1.0, 20.0])
    >>> p.extrapolated.tolist(), bool(p.values[1] < 1 / 1001)
    ([False, True], True)
    """

    reference: Array
    threshold: float
    exceedances: int
    shape: float
    scale: float
    goodness_of_fit: float

    # -- fit -------------------------------------------------------------------------------------------------

    @classmethod
    def fit(cls, reference_scores: ArrayLike) -> Tail:
        """Threshold, shape and scale from reference scores (n,) in any order.

        Thresholds are tried from the lowest (a tenth of the scores exceeds it, at least 50 and at most 1,000) to the
        highest (30 exceed it), eight in equal steps of the logarithm. Each fit is tested by the Anderson-Darling
        statistic, whose p-value comes from 199 simulated fits of the same shape and size. ForwardStop (G'Sell et al.
        2016) over these p-values says at 5 % false discovery rate which thresholds are too low; the next one is taken:
        Bader, Yan & Zhang, "Automated threshold selection for extreme value analysis via ordered goodness-of-fit
        tests", Annals of Applied Statistics 12 (2018). Where all are too low, the highest stands, and its
        `goodness_of_fit` says so.

        Shape and scale by Zhang & Stephens, "A new and efficient estimation method for the generalized Pareto
        distribution", Technometrics 51 (2009), the posterior mean of a profile likelihood on a grid: always exists,
        needs no search, is nearly as efficient as maximum likelihood, which fails in small samples, and never ends the
        tail below a score that was seen, which moments, weighted or not, do. p-values average the tail over that
        posterior instead of trusting its mean, which at a hundredth of 1 / (n + 1) is exceeded five to thirty times as
        often as it says; the average is by a factor of up to 3 with 1,000 scores, and of up to 6 with 200.

        Errors: CalibrationError for fewer than 200 scores, for infinite ones, and for tails that are all ties.
        """
        reference = np.sort(np.asarray(reference_scores, dtype=np.float64))
        if reference.ndim != 1:
            raise ValueError(f"reference scores are one column; this array has shape {reference.shape}")
        n = len(reference)
        if n < FEWEST:
            raise CalibrationError(
                f"a tail needs {FEWEST} reference scores, and there are {n}; hold out more calibration records, or ask "
                "for a level of at least 1 / (n + 1)"
            )
        if not np.isfinite(reference).all():
            raise CalibrationError("a reference score is infinite or NaN, and no tail can be fitted through it")
        candidates = _thresholds(reference)
        fits = [_fit(reference, threshold, seed=place) for place, threshold in enumerate(candidates)]
        return fits[_forward_stop(np.array([tail.goodness_of_fit for tail in fits]))]

    # -- use -------------------------------------------------------------------------------------------------

    def p_value(self, score: ArrayLike) -> PValues:
        """p-values (m,) of kind `extrapolated`, and which of them are: those below 1 / (n + 1).

        Up to the strangest reference score they are the ranks of `conformal.p_value`. Beyond, in return periods (how
        many ordinary records it takes to see one as strange),

            1 / p = n + 1 + R(score) - R(strangest),    R = 1 / (share above threshold x P(excess > score - threshold)),

        which goes on from the rank without a jump, is never above it, falls strictly and comes to the tail's own. So
        P(p <= a) <= a stays exact for a >= 1 / (n + 1), and rests on the tail below. Beyond 100 (n + 1), where scale
        and shape are guesses, and a negative shape would end at 0, p falls like a power of the excess instead, from the
        slope it had there. NaN raises ValueError.
        """
        score = np.asarray(score, dtype=np.float64)
        values = conformal.p_value(self.reference, score)
        beyond = score > self.reference[-1]
        n = len(self.reference)
        values[beyond] = np.exp(-self._log_period(score[beyond]))
        values[beyond] = np.clip(values[beyond], _TINY, 1 / (n + 1))
        return PValues(values, "extrapolated", extrapolated=values < 1 / (n + 1))

    def threshold_at(self, level: float) -> float:
        """The score above which (strictly) p-values are <= `level`, to the last bit: flags and p-values agree.

        >>> tail = Tail.fit(np.random.default_rng(0).exponential(size=1000))
        >>> score = tail.threshold_at(1e-4)
        >>> (tail.p_value([score, np.nextafter(score, np.inf)]).values <= 1e-4).tolist()
        [False, True]
        """
        near = self.score_at(level)
        step = max(abs(near) * 1e-15, float(np.finfo(np.float64).tiny))
        low, high = near - step, near + step
        while not self._within(high, level):
            step, high = 2 * step, high + 2 * step
        while self._within(low, level):
            step, low = 2 * step, low - 2 * step
        while low < (middle := low + (high - low) / 2) < high:
            low, high = (low, middle) if self._within(middle, level) else (middle, high)
        return low

    def _within(self, score: float, level: float) -> bool:
        return bool(self.p_value([score]).values[0] <= level)

    def score_at(self, level: float) -> float:
        """The least score that has a p-value <= `level`, but for rounding; by the tail alone below 1 / (n + 1).

        >>> tail = Tail.fit(np.random.default_rng(0).exponential(size=1000))
        >>> round(float(tail.p_value([tail.score_at(1e-4)]).values[0]), 10)
        0.0001
        """
        if not 0 < level < 1:
            raise ValueError(f"a level lies between 0 and 1, not {level}")
        n = len(self.reference)
        if level >= 1 / (n + 1):
            allowed = int(level * (n + 1) * (1 + 1e-12))
            return float(np.nextafter(self.reference[n - allowed], np.inf))
        gained = math.log(max(1 / level - (n + 1), _TINY))
        return self._score_of(float(np.logaddexp(gained, self._own_log_period(self.reference[-1:])[0])))

    # -- on disk ---------------------------------------------------------------------------------------------

    @property
    def words(self) -> str:
        """The fit in a line, for people."""
        return (
            f"shape {self.shape:.3g}, scale {self.scale:.3g} above a score of {self.threshold:.4g}, from "
            f"{self.exceedances:,} of {len(self.reference):,} records; goodness of fit p = {self.goodness_of_fit:.2g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without the reference scores; `from_dict` of both gives the same bits."""
        names = ("threshold", "exceedances", "shape", "scale", "goodness_of_fit")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], reference: Array) -> Tail:
        return cls(reference=reference, **given)

    # -- the tail's own return periods -----------------------------------------------------------------------

    @property
    def _share(self) -> float:
        """Of records above the threshold, as the rank just above it has it."""
        return (1 + self.exceedances) / (len(self.reference) + 1)

    @cached_property
    def _excesses(self) -> Array:
        return self.reference[len(self.reference) - self.exceedances :] - self.threshold

    @cached_property
    def _posterior(self) -> tuple[Array, Array, Array]:
        """Shapes, scales and log weights (grid,) that the tail is an average of."""
        unit = float(np.median(self._excesses))
        theta, shape, weight = posterior((self._excesses / unit).clip(*_RANGE)[None])
        kept = weight[0] > 0
        return shape[0, kept], -shape[0, kept] / theta[0, kept] * unit, np.log(weight[0, kept])

    def _log_survivals(self, excess: Array) -> Array:
        """log of weight x P(excess exceeded) under each of the posterior's tails, (m, grid)."""
        shape, scale, log_weight = self._posterior
        with np.errstate(over="ignore", divide="ignore"):
            return log_weight - np.log1p(np.maximum(shape * (excess[:, None] / scale), -1.0)) / shape

    @cached_property
    def _end(self) -> tuple[float, float, float]:
        """Where the tail's reach ends: the log return period, the excess, and the scale of the excesses from there."""
        log_period = math.log(REACH * (len(self.reference) + 1))
        excess = self._excess_at(log_period + math.log(self._share))
        logs = self._log_survivals(np.array([excess]))[0]
        shape, scale, _ = self._posterior
        alive = np.isfinite(logs)
        share = np.exp(logs[alive] - logs[alive].max())
        hazard = (share / (scale + shape * excess)[alive]).sum() / share.sum()
        return log_period, excess, float(1 / hazard)

    def _excess_at(self, depth: float) -> float:
        """The excess that has the probability exp(-depth), by bisection."""
        low, high = 0.0, float(self._excesses[-1])
        while np.isfinite(high) and self._log_survival(high) > -depth:
            low, high = high, 2 * high
        for _ in range(200):
            middle = low + (high - low) / 2
            if not low < middle < high:
                break
            low, high = (middle, high) if self._log_survival(middle) > -depth else (low, middle)
        return high

    def _log_survival(self, excess: float) -> float:
        return float(np.logaddexp.reduce(self._log_survivals(np.array([excess]))[0]))

    def _own_log_period(self, score: Array) -> Array:
        """log R of scores at or above the threshold."""
        log_period, end, scale = self._end
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            excess = score - self.threshold
            depth = -np.logaddexp.reduce(self._log_survivals(np.minimum(excess, end)), axis=1)
            # In logarithms, as an excess over a tiny scale overflows.
            farther = np.logaddexp(0.0, np.log(np.maximum(excess - end, 0.0)) - math.log(scale))
        return np.where(excess > end, log_period + farther, np.minimum(depth - math.log(self._share), log_period))

    def _log_period(self, score: Array) -> Array:
        """log of n + 1 + R(score) - R(strangest), for scores beyond the strangest; R may exceed every float."""
        own, strangest = self._own_log_period(score), float(self._own_log_period(self.reference[-1:])[0])
        first = math.log(len(self.reference) + 1)
        with np.errstate(divide="ignore"):
            gained = np.maximum(own, strangest) + np.log(-np.expm1(np.minimum(strangest - own, 0.0)))
        return np.logaddexp(first, gained)

    def _score_of(self, log_period: float) -> float:
        """The score whose own return period has that logarithm."""
        last, end, scale = self._end
        if log_period <= last:
            return self.threshold + self._excess_at(log_period + math.log(self._share))
        with np.errstate(over="ignore"):
            return float(self.threshold + end + scale * np.expm1(log_period - last))


def size_needed(level: float) -> int:
    """The fewest reference scores whose tail reaches `level`, 0 < level < 1: 200, and enough that it is no farther than
    a hundredth of 1 / (n + 1), beyond which shape and scale are guesses.

    >>> size_needed(0.0001), size_needed(1e-6)
    (200, 9999)
    """
    return max(FEWEST, math.ceil((conformal.size_needed(level) + 1) / REACH) - 1)


def _thresholds(reference: Array) -> list[float]:
    """From the lowest to the highest, each with at least 30 scores above it, ten of them different."""
    n = len(reference)
    most = min(max(_LARGEST_SHARE * n, FEWEST / 4), MOST_EXCESSES)
    counts = np.geomspace(most, FEWEST_EXCESSES, _THRESHOLDS).round().astype(int)
    found = np.unique(reference[n - counts - 1])  # a threshold that is a score itself; ties may leave fewer above
    above = [reference[np.searchsorted(reference, value, side="right") :] for value in found]
    fit = [
        float(value)
        for value, scores in zip(found, above, strict=True)
        if len(scores) >= FEWEST_EXCESSES and len(np.unique(scores)) >= FEWEST_DISTINCT
    ]
    if not fit:
        raise CalibrationError(
            "the highest reference scores are too few different values for a tail: no threshold has "
            f"{FEWEST_EXCESSES} scores above it, {FEWEST_DISTINCT} of them different; ask for a level of at least "
            "1 / (n + 1), or score by something finer"
        )
    return fit


def _fit(reference: Array, threshold: float, *, seed: int) -> Tail:
    with np.errstate(over="ignore"):
        excess = reference[np.searchsorted(reference, threshold, side="right") :] - threshold
    if not np.isfinite(excess).all():
        raise CalibrationError("reference scores are so far apart that their differences exceed every number")
    # Shape and fit know no units; 1e300 and 1e-300 do.
    unit = float(np.median(excess))
    relative = (excess / unit).clip(*_RANGE)[None]
    shape, scale = zhang_stephens(relative)
    observed = anderson_darling(relative, shape, scale)[0]
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.standard_exponential((_SIMULATIONS, len(excess))), axis=1)
    simulated = np.maximum(np.expm1(shape * drawn) / shape, 1e-12)
    distances = anderson_darling(simulated, *zhang_stephens(simulated))
    return Tail(
        reference=reference,
        threshold=threshold,
        exceedances=len(excess),
        shape=float(shape[0]),
        scale=float(scale[0]) * unit,
        goodness_of_fit=float((1 + (distances >= observed).sum()) / (_SIMULATIONS + 1)),
    )


def _forward_stop(p: Array) -> int:
    """How many of the first thresholds are too low, and so the place of the one to take."""
    means = np.cumsum(-np.log1p(-np.minimum(p, 1 - 1e-12))) / np.arange(1, len(p) + 1)
    rejected = np.flatnonzero(means <= _SIGNIFICANCE)
    return min(int(rejected[-1]) + 1, len(p) - 1) if len(rejected) else 0
