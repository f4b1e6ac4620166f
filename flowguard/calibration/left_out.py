"""What p-values are worth when some of the records to rank among were left out by hand."""

from __future__ import annotations


def rate_at_most(level: float, kept: int, left_out: int) -> float:
    """What P(p_value <= level) is at most, whichever `left_out` records were taken from among the `kept` + `left_out`.

    For a record that is exchangeable with all n + m of them, m left out: level + m (1 - level) / (n + m + 1).
    Let R be 1 + how many of all score at least as high, and K the same among those kept. R <= K + m whoever was left
    out, so that p_value = K / (n + 1) <= level implies R <= level (n + 1) + m; and R is at most r with probability at
    most r / (n + m + 1). It is met where the m strangest were left out. For random m, with a bound M on it, the bound
    for M and the same n + m holds. Ties broken at random change nothing.

    Where none of those left out is like the record judged (it is ordinary, they are anomalies), m counts none and the
    level stands.

    >>> round(rate_at_most(0.001, 9_990, 10), 5), rate_at_most(0.001, 9_990, 0)
    (0.002, 0.001)
    """
    if not 0 < level < 1 or kept < 0 or left_out < 0:
        raise ValueError(f"a level lies between 0 and 1 and counts are not negative, not {level}, {kept}, {left_out}")
    return level + left_out * (1 - level) / (kept + left_out + 1)
