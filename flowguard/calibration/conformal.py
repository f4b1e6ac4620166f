"""Split-conformal p-values: a record's rank among held-out records that were never trained on.

Vovk, Gammerman & Shafer, "Algorithmic Learning in a Random World" (2005); Papadopoulos et al., ECML 2002.
When the record is exchangeable with the n reference records, P(p_value <= a) <= a for every a, in finite
samples.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def p_value(reference: Array, score: Array) -> Array:
    """(1 + number of reference scores >= score) / (n + 1); `reference` (n,) sorted, `score` (m,).

    Higher = stranger. Ties count against the record, so p-values stay valid. NaN scores raise ValueError:
    they have no rank.

    >>> p_value(np.array([1.0, 2.0, 2.0]), np.array([0.0, 2.0, 3.0])).tolist()
    [1.0, 0.75, 0.25]
    """
    score = np.asarray(score, dtype=np.float64)
    if np.isnan(score).any():
        raise ValueError("a score is NaN and has no p-value")
    n = len(reference)
    return (1 + n - np.searchsorted(reference, score, side="left")) / (n + 1)


def smallest_level(n: int) -> float:
    """The smallest p-value that `n` reference records can give, 1 / (n + 1)."""
    return 1 / (n + 1)


def size_needed(level: float) -> int:
    """The fewest reference records whose smallest p-value reaches `level`, 0 < level < 1.

    >>> size_needed(0.001)
    999
    """
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, not {level}")
    n = max(1, math.ceil(1 / level) - 2)
    while smallest_level(n) > level:
        n += 1
    return n
