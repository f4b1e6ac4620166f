"""False discovery control over a sequence of batches: LOND, with a step-up rule within each batch.

Javanmard & Montanari, "Online rules for control of false discovery rate and false discovery exceedance", Annals of
Statistics 46 (2018), where a batch is one test; Zrnic, Ramdas & Jordan, "Asynchronous online testing of multiple
hypotheses", JMLR 22 (2021), on positive dependence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, zeta

from flowguard.calibration.conformal import size_needed
from flowguard.calibration.policy.policy import Array, Decision, History, percent

HORIZON = 1000
"""Batches over which a new sequence spreads its budget evenly: about three years of days, longer than most versions.

While a batch brings as many discoveries as another, D grows like t, and the level of batch t is that of a lone
Benjamini-Hochberg times t g_t, divided by how many batches go by from one with anomalies to the next. So t g_t should
be level for as long as a version is in use. With shares like 1 / t up to the horizon and 1 / t^2 beyond it is 13 % for
the first batch, 11 % at t = 200, 6.7 % at t = 1,000 and 2.9 % at t = 3,650, ten years of days. A plain power spends
more on the first batches or on those after the horizon: with t^-1.2 it is 18 %, 6.2 %, 4.5 % and 3.5 %, with t^-1.1
9.4 %, 5.6 %, 4.7 % and 4.2 %, with 1 / (t log^2 t) 49 %, 1.7 %, 1.0 % and 0.7 %.
"""

EXPONENT = 1.2
"""The shares of sequences without a horizon, those of versions sealed before there was one, fall as t^-1.2."""

# Relative. Ranks are fractions, and so are the levels that users choose: k / (n + 1) is often a level exactly.
_ROUNDING = 1e-12


def share(t: int, *, horizon: int | None = HORIZON) -> float:
    """g_t, the t-th batch's share of the budget, from t = 1; the shares sum to 1.

        g_t = h / (t (t + h) (1 + 1/2 + ... + 1/h))        with horizon h; t^-1.2 / zeta(1.2) without

    >>> round(share(1), 4), round(share(200), 6)
    (0.1335, 0.000557)
    """
    if t < 1:
        raise ValueError(f"batches count from 1, not {t}")
    if horizon is None:
        return float(t**-EXPONENT / zeta(EXPONENT))
    # 1 / t - 1 / (t + h) = h / (t (t + h)) sums to the first h terms of 1 / t.
    return float(horizon / (t * (t + horizon)) / (digamma(horizon + 1) + np.euler_gamma))


def step_up(p_value: Array, slope: float, *, before: int = 0) -> tuple[int, float]:
    """The largest r whose r smallest p-values are all <= slope (before + r), and that level; (0, 0.0) where none.

    Benjamini-Hochberg (1995) is slope = rate / n. All p-values at or below the level are among the r.

    >>> step_up(np.array([0.01, 0.04, 0.9]), 0.1 / 3)
    (2, 0.06666666666666667)
    """
    ordered = np.sort(p_value)
    fits = np.flatnonzero(ordered <= _levels(len(ordered), slope, before))
    if not len(fits):
        return 0, 0.0
    r = int(fits[-1]) + 1
    return r, max(slope * (before + r), float(ordered[r - 1]))


def decide(
    p_value: ArrayLike,
    rate: float,
    *,
    t: int,
    discoveries_before: int,
    n_reference: ArrayLike,
    horizon: int | None = HORIZON,
) -> Decision:
    """The decision on the t-th batch of a sequence whose pooled false discovery rate is to stay below `rate`.

    Flags the r smallest of the m split-conformal p-values (m,), with the largest r for which all are at most

        rate * g_t * (discoveries_before + r) / m.

    Then FDR = E[false discoveries so far / max(1, all discoveries so far)] <= rate after every batch. For D_t, the
    discoveries up to batch t, is at most those up to the end, so FDR <= sum_t sum_i E[1{p_ti <= rate g_t D_t / m_t} /
    D_t] over ordinary records. D_t does not grow when a p-value does, and p-values against one shared reference, or
    against independent ones, are PRDS on ordinary records (Bates et al. 2023, theorem 2), so that each term is at most
    rate g_t / m_t (Blanchard & Roquain 2008, lemma 3.2), and the shares g_t sum to 1. It takes shares and batch sizes
    that do not depend on the p-values, so that a sequence keeps the `horizon` of `share` that it began with, batches
    that are decided once, and ordinary records of all batches exchangeable with the reference's.

    `n_reference` (m,) or one number: the reference records behind each p-value, whose smallest is 1 / (n + 1). Where
    not even all records at their smallest would reach the level, nothing is flagged and `note` says what it takes.

    >>> decide(np.array([0.001, 0.4]), 0.1, t=1, discoveries_before=3, n_reference=999).flag.tolist()
    [True, False]
    """
    p = np.asarray(p_value, dtype=np.float64)
    if np.isnan(p).any():
        raise ValueError("a p-value is NaN and can be neither flagged nor passed")
    place = History(t, discoveries_before)
    smallest = 1 / (1 + np.broadcast_to(np.asarray(n_reference, dtype=np.float64), p.shape))
    slope = rate * share(place.t, horizon=horizon) / max(1, len(p))
    return by_step_up(
        p,
        smallest,
        slope,
        before=discoveries_before,
        guarantee=f"Of all records flagged since the first batch, at most {percent(rate)} are expected to be ordinary.",
    )


def by_step_up(p: Array, smallest: Array, slope: float, *, before: int = 0, guarantee: str) -> Decision:
    """The decision of `step_up`; `smallest` (m,) are the smallest p-values that each record could have got."""
    r, level = step_up(p, slope, before=before)
    flag: NDArray[np.bool_] = p <= level if r else np.zeros(len(p), dtype=bool)
    return Decision(flag, level, None if r else _why_none(smallest, slope, before), guarantee)


def _levels(m: int, slope: float, before: int) -> Array:
    return slope * (1 + _ROUNDING) * (before + np.arange(1, m + 1, dtype=np.float64))


def _why_none(smallest: Array, slope: float, before: int) -> str | None:
    """What flags would take, where one record alone at its smallest p-value could get none."""
    m = len(smallest)
    if not m:
        return None
    fits = np.flatnonzero(np.sort(smallest) <= _levels(m, slope, before))
    fewest = int(fits[0]) + 1 if len(fits) else None
    if fewest == 1:
        return None
    least = float(smallest.min())
    reference = f"{round(1 / least - 1):,} reference records, whose smallest p-value is {least:.3g}"
    alone, highest = slope * (before + 1), slope * (before + m)
    if fewest is None:
        return (
            f"Nothing can be flagged in this batch of {m:,}: its highest level is {highest:.3g}, and there are "
            f"{reference}. At least {_needed(highest)} calibration records are needed, and {_needed(alone)} for a "
            "record to be flagged on its own."
        )
    return (
        f"Nothing is flagged in this batch of {m:,}: with {reference}, it takes at least {fewest:,} records as strange "
        f"as can be. For a record to be flagged on its own, {_needed(alone)} calibration records are needed."
    )


def _needed(level: float) -> str:
    return f"{size_needed(level):,}" if level < 1 else "1"
