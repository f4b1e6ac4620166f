"""Weighted p-values, where some calibration records resemble the record judged more than others: rolling, drifting.

Tibshirani, Barber, Candès & Ramdas, "Conformal prediction under covariate shift", NeurIPS 2019; Barber, Candès, Ramdas
& Tibshirani, "Conformal prediction beyond exchangeability", Annals of Statistics 51 (2023).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowguard.calibration.p_values import PValues

Array = NDArray[np.float64]


def weighted_p_value(
    reference_scores: ArrayLike, weights: ArrayLike, score: ArrayLike, own_weight: ArrayLike = 1.0
) -> PValues:
    """(own_weight + weights of reference scores >= score) / (own_weight + all weights), of kind `weighted`.

    `reference_scores` and `weights` (n,), in any order; `score` (m,), higher = stranger; `own_weight` that of the
    record judged, one number or (m,). Ties count against the record. Equal weights give `p_value`.

    Under covariate shift with the likelihood ratios themselves for weights, own_weight the record's, P(p <= a) <= a
    exactly. With weights fixed in advance, none above own_weight, such as `forgetting_weights`, P(p <= a) <= a + sum_i
    w_i d_i, where w are the weights as shares of own_weight and their sum, and d_i is the total variation distance
    between the scores as they are and with the record and reference record i exchanged: what drifts little, or long
    ago, costs little. Neither is known in practice, so these p-values are approximate, and no false discovery rate
    holds with them for certain.

    Errors: ValueError for NaN, for weights that are negative, infinite or all 0, and for lengths that differ.

    >>> weighted_p_value([1.0, 2.0, 3.0], [1.0, 2.0, 4.0], [2.5]).values.tolist()
    [0.625]
    """
    scores, of_each = np.asarray(reference_scores, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    tried, own = np.asarray(score, dtype=np.float64), np.asarray(own_weight, dtype=np.float64)
    if scores.shape != of_each.shape or scores.ndim != 1:
        raise ValueError(f"reference scores of shape {scores.shape} but weights of shape {of_each.shape}")
    if own.shape not in ((), tried.shape):
        raise ValueError(f"{len(tried)} scores but own weights of shape {own.shape}")
    if np.isnan(scores).any() or np.isnan(tried).any():
        raise ValueError("a score is NaN and has no p-value")
    _check(of_each, "weights")
    if not (np.isfinite(own) & (own > 0)).all():
        raise ValueError("own weights are finite and above 0")
    order = np.argsort(scores)
    # Summed from the strangest down, so that the few weights that small p-values consist of are not lost in the sum.
    above = np.concatenate([np.cumsum(of_each[order][::-1])[::-1], [0.0]])
    return PValues((own + above[np.searchsorted(scores[order], tried, side="left")]) / (own + above[0]), "weighted")


def forgetting_weights(age: ArrayLike, half_life: float) -> Array:
    """2^(-age / half_life) for reference records (n,) of that age, in the unit of `half_life`; the record judged has 1.

    >>> forgetting_weights([0.0, 7.0, 14.0], 7.0).tolist()
    [1.0, 0.5, 0.25]
    """
    ages = np.asarray(age, dtype=np.float64)
    if not half_life > 0:
        raise ValueError(f"a half-life is above 0, not {half_life}")
    if not (ages >= 0).all():
        raise ValueError("ages are 0 or more: reference records are no younger than the record judged")
    return np.exp2(-ages / half_life)


def weighted_size(weights: ArrayLike, own_weight: ArrayLike = 1.0) -> Array:
    """How many equal records would reach as small a p-value, sum of weights / own_weight: a policy's `n_reference`.

    One number, or (m,) where own weights differ. The smallest p-value is 1 / (weighted_size + 1).

    >>> float(weighted_size([1.0, 0.5, 0.25]))
    1.75
    """
    of_each = np.asarray(weights, dtype=np.float64)
    _check(of_each, "weights")
    return np.asarray(of_each.sum() / np.asarray(own_weight, dtype=np.float64))


def effective_size(weights: ArrayLike) -> float:
    """Kish's size, (sum w)^2 / sum w^2: how many equal records would give p-values of as little noise.

    >>> effective_size([1.0, 1.0, 0.0])
    2.0
    """
    of_each = np.asarray(weights, dtype=np.float64)
    _check(of_each, "weights")
    relative = of_each / of_each.max()
    return float(relative.sum() ** 2 / (relative**2).sum())


def _check(weights: Array, name: str) -> None:
    if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.sum() > 0:
        raise ValueError(f"{name} are finite, 0 or more, and not all 0")
