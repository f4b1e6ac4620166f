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
from flowguard.errors import CalibrationError

Array = NDArray[np.float64]

FEWEST = 200
"""Reference scores below which there is no tail to speak of."""

FEWEST_EXCESSES, MOST_EXCESSES = 30, 1000
"""The highest and the lowest threshold that are tried, by how many scores exceed them."""

FEWEST_DISTINCT = 10
"""Different values among the excesses below which a continuous distribution says nothing of them."""

REACH = 100
"""Return periods of up to so many times n + 1 are the tail's; beyond them p-values ease off."""

_THRESHOLDS, _LARGEST_SHARE = 8, 0.25
_SIGNIFICANCE, _SIMULATIONS = 0.05, 199
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, eq=False)
class Tail:
    """The tail of `reference` (n,) sorted scores above `threshold`, which `exceedances` of them exceed.

    `shape` and `scale` of the generalised Pareto distribution, the scale in units of the score, and the p-value of its
    `goodness_of_fit`, small where it does not fit.

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

        Thresholds are tried from the lowest (a quarter of the scores exceeds it, at most 1,000) to the highest (30
        exceed it), eight in equal steps of the logarithm. Each fit is tested by the Anderson-Darling statistic, whose
        p-value comes from 199 simulated fits of the same shape and size. ForwardStop (G'Sell et al. 2016) over these
        p-values says at 5 % false discovery rate which thresholds are too low; the next one is taken: Bader, Yan &
        Zhang, "Automated threshold selection for extreme value analysis via ordered goodness-of-fit tests", Annals of
        Applied Statistics 12 (2018). Where all are too low, the highest stands, and its `goodness_of_fit` says so.

        Shape and scale by Zhang & Stephens, "A new and efficient estimation method for the generalized Pareto
        distribution", Technometrics 51 (2009), the posterior mean of a profile likelihood: always exists, needs no
        search, is nearly as efficient as maximum likelihood, which fails in small samples, and never ends the tail
        below a score that was seen, which moments, weighted or not, do.

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

            1 / p = n + 1 + R(score) - R(strangest),    R = 1 / (share above the threshold x P(excess > score - threshold)),

        which goes on from the rank without a jump, is never above it, falls strictly and comes to the tail's own. So
        P(p <= a) <= a stays exact for a >= 1 / (n + 1), and rests on the tail below. Beyond 100 (n + 1), where scale
        and shape are guesses, and a negative shape would end at 0, p falls like a power of the excess instead, with the
        slope it had there. NaN raises ValueError.
        """
        score = np.asarray(score, dtype=np.float64)
        values = conformal.p_value(self.reference, score)
        beyond = score > self.reference[-1]
        n = len(self.reference)
        values[beyond] = np.exp(-self._log_period(score[beyond]))
        values[beyond] = np.clip(values[beyond], _TINY, 1 / (n + 1))
        return PValues(values, "extrapolated", extrapolated=values < 1 / (n + 1))

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
        period = 1 / level - (n + 1) + math.exp(self._own_log_period(self.reference[-1:])[0])
        return self._score_of(math.log(period))

    # -- on disk ---------------------------------------------------------------------------------------------

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
    def _end(self) -> tuple[float, float, float]:
        """Where the tail's reach ends: the log return period, the excess, and the scale of the excesses from there."""
        log_period = math.log(REACH * (len(self.reference) + 1))
        depth = log_period + math.log(self._share)
        growth = math.expm1(self.shape * depth) / self.shape if abs(self.shape) > 1e-9 else depth
        return log_period, self.scale * growth, self.scale * math.exp(self.shape * depth)

    def _own_log_period(self, score: Array) -> Array:
        """log R of scores at or above the threshold."""
        log_period, end, scale = self._end
        excess = score - self.threshold
        within = np.minimum(excess, end) / self.scale
        if abs(self.shape) > 1e-9:
            depth = np.log1p(np.maximum(self.shape * within, -1 + 1e-15)) / self.shape
        else:
            depth = within
        # In logarithms, as an excess over a tiny scale overflows.
        with np.errstate(divide="ignore", invalid="ignore"):
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
        if log_period > last:
            return self.threshold + end + scale * math.expm1(log_period - last)
        depth = log_period + math.log(self._share)
        growth = math.expm1(self.shape * depth) / self.shape if abs(self.shape) > 1e-9 else depth
        return self.threshold + self.scale * growth


def zhang_stephens(excess: Array) -> tuple[Array, Array]:
    """Shape and scale, each (runs,), of generalised Pareto samples (runs, n), positive and sorted along the last axis."""
    n = excess.shape[-1]
    grid = 20 + math.isqrt(n)
    quartile, most = excess[:, int(n / 4 + 0.5) - 1], excess[:, -1]
    steps = 1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    theta = 1 / most[:, None] + steps / (3 * quartile[:, None])
    shape = np.stack([np.log1p(-one[:, None] * excess).mean(-1) for one in theta.T], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        profile = n * (np.log(-theta / shape) - shape - 1)
    profile = np.where(np.isfinite(profile), profile, -np.inf)
    weight = np.exp(profile - profile.max(-1, keepdims=True))
    mean = (weight * theta).sum(-1) / weight.sum(-1)
    fitted = np.log1p(-mean[:, None] * excess).mean(-1)
    return fitted, -fitted / mean


def anderson_darling(excess: Array, shape: Array, scale: Array) -> Array:
    """The distance (runs,) of sorted samples (runs, n) from their generalised Pareto distributions; tails count most."""
    n = excess.shape[-1]
    log_survival = -np.log1p(np.maximum(shape[:, None] * excess / scale[:, None], -1 + 1e-15)) / shape[:, None]
    log_survival = np.minimum(log_survival, -1e-15)
    log_share = np.log(-np.expm1(log_survival))
    weight = (2 * np.arange(1, n + 1) - 1) / n
    return -n - (weight * (log_share + log_survival[:, ::-1])).sum(-1)


def _thresholds(reference: Array) -> list[float]:
    """From the lowest to the highest, each with between 30 and 1,000 scores above it, ten of them different."""
    n = len(reference)
    counts = np.geomspace(min(_LARGEST_SHARE * n, MOST_EXCESSES), FEWEST_EXCESSES, _THRESHOLDS).round().astype(int)
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
    excess = reference[np.searchsorted(reference, threshold, side="right") :] - threshold
    # Shape and fit know no units; 1e300 and 1e-300 do.
    unit = float(np.median(excess))
    relative = np.clip(excess / unit, 1e-12, 1e12)[None]
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
