"""Tail ranks: how low a record's density is among records of its own pattern.

Densities of records with different columns observed have different units and do not compare; ranks within a
pattern do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TAIL_ARRAYS = ("tail_points", "tail_offsets")
"""What `TailRank.to_state` calls its arrays."""

FEWEST = 50
"""Reference records below which a pattern is rare, and shares a reference with the other rare ones."""

CONTINUOUS = "1"

# Nats. Reference densities that are all but tied say nothing of how fast ranks fall below them.
_LEAST_SCALE = 0.01


@dataclass(frozen=True, eq=False)
class Reference:
    """Sorted log-densities of n held-out records, and the scale of the tail below them."""

    points: Array
    scale: float

    @classmethod
    def fit(cls, log_density: Array) -> Reference:
        """The tail's scale is the mean excess of the lowest ~sqrt(n) records, the likeliest for a tail."""
        points = np.sort(np.asarray(log_density, dtype=np.float64))
        n = len(points)
        lowest = min(n - 1, math.ceil(math.sqrt(n)))
        excess = float(np.mean(points[lowest] - points[:lowest])) if lowest else 0.0
        middle = float(points[n // 2] - points[0]) / max(1.0, math.log(n / 2))
        scale = next((value for value in (excess, middle) if value >= _LEAST_SCALE), 1.0)
        return cls(points, scale)

    @cached_property
    def _steps(self) -> tuple[Array, Array]:
        """Distinct points, and the log of the share of n + 1 at or below each."""
        distinct, counts = np.unique(self.points, return_counts=True)
        return distinct, np.log(np.cumsum(counts) / (len(self.points) + 1))

    def log_rank(self, log_density: Array, *, eased: bool = False) -> Array:
        """log of the share of records with a density this low: strictly increasing in density, at most 0.

        Linear in log-density between reference points, exponential tails beyond the least and the greatest. `eased`:
        below the least, a tail like a power instead, whose logarithm falls with the logarithm of the excess. Nothing
        supports a rank so far out; where ranks are added to other evidence, that of one narrow column would outweigh
        all the rest.
        """
        value = np.asarray(log_density, dtype=np.float64)
        points, logs = self._steps
        k = np.clip(np.searchsorted(points, value, side="right") - 1, 0, max(0, len(points) - 2))
        after = np.minimum(k + 1, len(points) - 1)
        width = points[after] - points[k]
        with np.errstate(over="ignore"):  # points a denormal apart
            share = np.divide(value - points[k], width, out=np.zeros_like(value), where=width > 0)
        # Rounding must not carry a rank past that of the next point.
        rank = np.minimum(logs[k] + np.clip(share, 0.0, 1.0) * (logs[after] - logs[k]), logs[after])
        low, high = value < points[0], value > points[-1]
        beyond = (points[0] - value[low]) / self.scale
        rank[low] = logs[0] - (np.log1p(beyond) if eased else beyond)
        left = -math.expm1(float(logs[-1]))
        rank[high] = np.maximum(logs[-1], np.log1p(-left * np.exp((points[-1] - value[high]) / self.scale)))
        return rank


@dataclass(frozen=True, eq=False)
class TailRank:
    """Log tail ranks by pattern.

    A pattern with at least 50 reference records has its own reference. The others, and those never seen,
    share a pooled one, in which a column's mean part of the log-density is taken off first: what is left does
    not depend on how many columns were observed, nor on their units. A pattern with nothing continuous has
    tail rank 1 exactly.
    """

    references: Mapping[str, Reference]
    pooled: Reference | None
    offsets: Array

    @classmethod
    def fit(cls, log_density: Array, pattern: NDArray[np.str_]) -> TailRank:
        """`log_density` (n,), `pattern` (n,) of reference records; "101" = first and third observed."""
        log_density = np.asarray(log_density, dtype=np.float64)
        names, places, counts = np.unique(pattern, return_inverse=True, return_counts=True)
        live = np.array([CONTINUOUS in name for name in names.tolist()], dtype=bool)
        own = live & (counts >= FEWEST)
        references = {str(names[i]): Reference.fit(log_density[places == i]) for i in np.flatnonzero(own)}
        digits = _digits(names)
        offsets = np.zeros(digits.shape[1])
        pooled = None
        if live.any():
            means = np.bincount(places, weights=log_density) / counts
            weight = np.sqrt(counts[live])
            offsets = np.linalg.lstsq(digits[live] * weight[:, None], means[live] * weight, rcond=None)[0]
            rest = log_density - (digits @ offsets)[places]
            rare = (live & ~own)[places]
            # Too few rare records to rank among: all records stand in.
            pooled = Reference.fit(rest[rare] if rare.sum() >= FEWEST else rest[live[places]])
        return cls(references, pooled, offsets)

    def log_rank(self, log_density: Array, pattern: NDArray[np.str_], *, eased: bool = False) -> Array:
        """log tail rank (n,), at most 0; strictly increasing in density where anything is continuous.

        `eased` as in `Reference.log_rank`.
        """
        log_density = np.asarray(log_density, dtype=np.float64)
        rank = np.zeros(len(log_density))
        names, places = np.unique(pattern, return_inverse=True)
        for i, name in enumerate(names.tolist()):
            if CONTINUOUS not in name:
                continue
            rows = places == i
            own = self.references.get(name)
            if own is not None:
                rank[rows] = own.log_rank(log_density[rows], eased=eased)
                continue
            rest = log_density[rows] - float(_digits(names[i : i + 1])[0] @ self.offsets)
            # No continuous record was ever seen: a rank that rises with density, on the scale of densities
            # themselves.
            rank[rows] = self.pooled.log_rank(rest, eased=eased) if self.pooled else -np.logaddexp(0.0, -rest)
        return rank

    def to_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """JSON and arrays; `from_state` of them gives the same bits."""
        parts = list(self.references.values()) + ([self.pooled] if self.pooled else [])
        state = {
            "patterns": list(self.references),
            "sizes": [len(part.points) for part in parts],
            "scales": [part.scale for part in parts],
            "pooled": self.pooled is not None,
        }
        points = np.concatenate([part.points for part in parts]) if parts else np.zeros(0)
        return state, dict(zip(TAIL_ARRAYS, (points, self.offsets), strict=True))

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, Array]) -> TailRank:
        ends = np.cumsum(np.array(state["sizes"], dtype=np.int64))
        pieces = np.split(arrays["tail_points"], ends)[: len(ends)]
        parts = [Reference(piece, scale) for piece, scale in zip(pieces, state["scales"], strict=True)]
        pooled = parts.pop() if state["pooled"] else None
        return cls(dict(zip(state["patterns"], parts, strict=True)), pooled, arrays["tail_offsets"])


def tails_to_state(tails: Sequence[TailRank]) -> tuple[dict[str, Any], dict[str, Array]]:
    """JSON and arrays of several; `tails_from_state` of them gives the same bits."""
    states, arrays = [], {}
    for place, tail in enumerate(tails):
        state, named = tail.to_state()
        states.append(state)
        arrays.update({f"{place}.{name}": array for name, array in named.items()})
    return {"tails": states}, arrays


def tails_from_state(state: Mapping[str, Any], arrays: Mapping[str, Array]) -> tuple[TailRank, ...]:
    return tuple(
        TailRank.from_state(one, {name: arrays[f"{place}.{name}"] for name in TAIL_ARRAYS})
        for place, one in enumerate(state["tails"])
    )


def _digits(patterns: NDArray[np.str_]) -> Array:
    """1.0 where a pattern's column is continuous, shape (patterns, columns)."""
    return np.array([[digit == CONTINUOUS for digit in name] for name in patterns.tolist()], dtype=np.float64)
