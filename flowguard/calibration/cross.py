"""Cross-conformal p-values, for tables too small to hold anything out.

Vovk, "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 74 (2015): every record is left
out once, and a record is ranked among all of them, each by the model that did not see it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from flowguard.calibration.p_values import PValues


def cross_p_value(reference: Sequence[ArrayLike], score: ArrayLike) -> PValues:
    """(1 + sum over folds of left-out scores >= the record's score by that fold's model) / (n + 1), of kind `cross`.

    `reference` holds for each of K folds the scores (n_k,), in any order, of its records by the model trained on the
    other folds; `score` (m, K) those of the records judged by each of these models. Higher = stranger; ties count
    against the record. For an ordinary record

        P(p_value <= a) <= 2 a + excess,    excess = 2 (K - 1) / (n + K),

    as p is the mean of K split-conformal p-values but for their +1, and twice a mean of p-values is one (Vovk & Wang,
    "Combining p-values via averaging", Biometrika 107, 2020). Folds of one size do with (1 - K / n) / (K + 1) where
    that is less, and so n folds of one record with none: Barber, Candès, Ramdas & Tibshirani, "Predictive inference
    with the jackknife+", Annals of Statistics 49 (2021), theorem 4. In practice P is close to a, but no theorem says
    so. These p-values are no ranks against one reference, and no false discovery rate is known to hold with them.

    Errors: ValueError for NaN, for empty folds, for a single fold and for another number of columns than folds.

    >>> p = cross_p_value([[1.0, 4.0], [2.0, 3.0]], [[3.5, 2.5], [9.0, 9.0]])
    >>> p.values.tolist(), p.factor
    ([0.6, 0.2], 2.0)
    """
    folds = [np.sort(np.asarray(fold, dtype=np.float64)) for fold in reference]
    tried = np.asarray(score, dtype=np.float64)
    sizes = [len(fold) for fold in folds]
    if len(folds) < 2 or min(sizes) < 1:
        raise ValueError(f"cross-conformal p-values need 2 folds or more, none of them empty; their sizes are {sizes}")
    if tried.ndim != 2 or tried.shape[1] != len(folds):
        raise ValueError(
            f"expected a column of scores for each of {len(folds)} folds, not scores of shape {tried.shape}"
        )
    if np.isnan(tried).any() or any(np.isnan(fold).any() for fold in folds):
        raise ValueError("a score is NaN and has no p-value")
    at_least = sum(
        len(fold) - np.searchsorted(fold, by_model, side="left") for fold, by_model in zip(folds, tried.T, strict=True)
    )
    values = (1 + np.asarray(at_least)) / (sum(sizes) + 1)
    return PValues(values, "cross", factor=2.0, excess=_excess(sizes))


def _excess(sizes: list[int]) -> float:
    n, folds = sum(sizes), len(sizes)
    of_averages = 2 * (folds - 1) / (n + folds)
    return min(of_averages, (1 - folds / n) / (folds + 1)) if len(set(sizes)) == 1 else of_averages
