"""Held-out records in two halves: one that scores are fitted on, and one that p-values come from."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

FEWEST_UNITS = 8
"""Units below which halves of whole units would be too uneven, and rows are split instead."""


def reference_half(units: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Which held-out records (n,) give conformal p-values; the others give the tail ranks.

    Whole units in the order of their hash, each to the half that has fewer records so far. With fewer than 8
    units single records are split, by their place in the table and a fixed seed. Neither rule looks at a value:
    a split that did, even at random, would leave a half of fixed ranks, and its p-values would not be valid.
    """
    names, places, sizes = np.unique(units, return_inverse=True, return_counts=True)
    if len(names) < FEWEST_UNITS:
        half = np.zeros(len(units), dtype=bool)
        half[np.random.default_rng(len(units)).permutation(len(units))[: (len(units) + 1) // 2]] = True
        return half
    digests = [hashlib.blake2b(name.encode(), digest_size=16).digest() for name in names.tolist()]
    chosen = np.zeros(len(names), dtype=bool)
    held = [0, 0]
    for unit in sorted(range(len(names)), key=digests.__getitem__):
        conformal_side = held[1] <= held[0]
        chosen[unit] = conformal_side
        held[conformal_side] += int(sizes[unit])
    return chosen[places]
