"""Is this batch odd by itself? Its score distribution against those of earlier batches, two-sided.

A block of records can be odd although none of them is: all a little strange, or all as ordinary as records never are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEWEST_BATCHES = 20
"""Earlier batches below which no tail is extrapolated."""


@dataclass(frozen=True)
class BatchTest:
    """`p_value` of a batch; `beyond`: an extrapolated tail, as ranks among so few batches go no lower.

    `measure` is what is odder, "level" or "spread", and `direction` 1 where it is high, -1 where it is low.
    """

    p_value: float
    beyond: bool
    measure: str
    direction: int


def batch_p_value(earlier: Array, value: Array) -> BatchTest:
    """Of level and spread (2,) among `earlier` (n, 2); NaN left out.

    Each has the conformal p-value min(1, 2 min(1 + above, 1 + below) / (n + 1)), valid for exchangeable batches; twice
    the smaller of both is valid again (Bonferroni). Where a batch lies beyond all n >= 20 earlier ones, the p-value is
    that of an exponential tail, an approximation that is marked `beyond`: k = sqrt(n) batches lie beyond the k + 1st by
    x_1 .. x_k, and P(beyond it by x) = (k + 1) / (n + 1) (1 + x / sum x_i)^-k, which is exact where the tail is
    exponential with an unknown scale, and too large where it is lighter, as that of means over many records.
    """
    found = [_one(earlier[:, place], float(value[place])) for place in range(2)]
    place = 0 if found[0][0] <= found[1][0] else 1
    p, beyond, direction = found[place]
    return BatchTest(min(1.0, 2 * p), beyond, ("level", "spread")[place], direction)


def _one(earlier: Array, value: float) -> tuple[float, bool, int]:
    known = earlier[~np.isnan(earlier)]
    n = len(known)
    if math.isnan(value):
        return 1.0, False, 1
    above, below = int((known >= value).sum()), int((known <= value).sum())
    direction = 1 if above <= below else -1
    p = min(1.0, 2 * (1 + min(above, below)) / (n + 1))
    if n < FEWEST_BATCHES or min(above, below) > 0:
        return p, False, direction
    k = math.ceil(math.sqrt(n))
    outward = np.sort(direction * known)[::-1]
    total = float((outward[:k] - outward[k]).sum())
    if not total > 0:
        return p, False, direction
    excess = (direction * value - float(outward[k])) / total
    tail = 2 * (k + 1) / (n + 1) * math.exp(-k * math.log1p(excess))
    return (tail, True, direction) if tail < p else (p, False, direction)
