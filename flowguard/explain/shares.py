"""How much of a record's improbability each column carries.

A column's term is its part of -log_likelihood. Raw terms cannot be ranked: they depend on units (minutes to
hours shifts one by log 60) and a wide column's term is always large. So each is compared with what it usually
is, its mean over calibration rows of the same pattern; the difference is the column's share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: A pattern seen in fewer calibration rows than this has no mean of its own worth trusting.
RARE = 50


def column_terms(mass_terms: ArrayLike, density_terms: ArrayLike, log_det: ArrayLike) -> NDArray[np.float64]:
    """Each column's part of -log_likelihood in nats, summed in float64.

    Law: ``column_terms(...).sum(axis=1) == -log_likelihood``. Shapes: all ``(n, d)``: the log probability of
    the column being observed or missing, its log density in encoded units, and the encoder's log derivative.

    >>> column_terms([[-0.1, 0.0]], [[-2.0, -1.0]], [[0.5, 0.0]])
    array([[1.6, 1. ]])
    """
    mass, density, jacobian = (np.asarray(a, dtype=np.float64) for a in (mass_terms, density_terms, log_det))
    if not mass.shape == density.shape == jacobian.shape or mass.ndim != 2:
        raise ValueError(
            f"mass_terms {mass.shape}, density_terms {density.shape} and log_det {jacobian.shape} "
            "must share one shape (records, columns)"
        )
    return -(mass + density + jacobian)


@dataclass(frozen=True)
class Baseline:
    """The mean term of each column, per pattern, over calibration rows.

    Law: ``shares.sum(axis=1) + baseline_sum == terms.sum(axis=1)`` within rounding. Patterns with fewer than
    `RARE` rows, and those never seen in calibration, share the pooled mean of all rows.

    >>> baseline = Baseline.fit(np.array([[1.0, 4.0], [3.0, 6.0]]), ["11", "11"])
    >>> shares, rest = baseline.shares(np.array([[9.0, 5.0]]), ["11"])
    >>> shares, rest
    (array([[7., 0.]]), array([7.]))
    """

    pooled: NDArray[np.float64]
    patterns: tuple[str, ...]
    means: NDArray[np.float64]
    rows: int

    @classmethod
    def fit(cls, terms: NDArray[np.float64], pattern: Sequence[str] | NDArray[np.str_]) -> Baseline:
        """Means over calibration rows: `terms` ``(n, d)``, `pattern` ``n`` strings such as "110"."""
        terms, names = _matched(terms, pattern)
        if len(terms) == 0:
            raise ValueError("a baseline needs at least one calibration row")
        if not np.isfinite(terms).all():
            raise ValueError("terms of calibration rows must be finite")
        found, rows_of, counts = np.unique(names, return_inverse=True, return_counts=True)
        common = np.flatnonzero(counts >= RARE)
        means = np.array([terms[rows_of == i].mean(axis=0) for i in common]).reshape(len(common), terms.shape[1])
        return cls(terms.mean(axis=0), tuple(str(found[i]) for i in common), means, len(terms))

    def shares(
        self, terms: NDArray[np.float64], pattern: Sequence[str] | NDArray[np.str_]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares ``(n, d)`` of the columns and the baseline's sum ``(n,)`` of each record, in nats."""
        terms, names = _matched(terms, pattern)
        if terms.shape[1] != len(self.pooled):
            raise ValueError(f"the baseline has {len(self.pooled)} columns, the terms have {terms.shape[1]}")
        table = np.vstack([self.means, self.pooled])
        place = {name: i for i, name in enumerate(self.patterns)}
        found, rows_of = np.unique(names, return_inverse=True)
        rows = np.array([place.get(str(name), len(self.patterns)) for name in found], dtype=np.intp)
        usual = table[rows[rows_of]] if len(found) else np.empty_like(terms)
        return terms - usual, usual.sum(axis=1)

    def to_state(self) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """JSON facts and float64 arrays, from which `from_state` makes the same baseline bit for bit."""
        return {"patterns": list(self.patterns), "rows": self.rows}, {
            "pooled": self.pooled,
            "means": self.means,
        }

    @classmethod
    def from_state(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]]) -> Baseline:
        """The baseline that `to_state` wrote."""
        pooled = np.asarray(arrays["pooled"], dtype=np.float64)
        means = np.asarray(arrays["means"], dtype=np.float64).reshape(-1, len(pooled))
        patterns = tuple(str(name) for name in facts["patterns"])
        if len(patterns) != len(means):
            raise ValueError(f"{len(patterns)} patterns but {len(means)} rows of means")
        return cls(pooled, patterns, means, int(facts["rows"]))


def _matched(
    terms: NDArray[np.float64], pattern: Sequence[str] | NDArray[np.str_]
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    values = np.asarray(terms, dtype=np.float64)
    names = np.asarray(pattern, dtype=np.str_)
    if values.ndim != 2 or names.shape != (len(values),):
        raise ValueError(f"terms {values.shape} need one pattern per record, not {names.shape}")
    return values, names
