"""Records whose density is known, anomalies among them, and the detectors that score both: for calibration.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

Array = np.ndarray
Scorer = Callable[[Array], Array]

COLUMNS, COMPONENTS, FACTORS, NOISE = 8, 3, 2, 0.3
FAR = 6.0


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of Gaussians, each with two common factors behind eight columns: strongly correlated.

    `means` (components, columns), `loadings` (components, columns, factors); equal weights.
    """

    means: Array
    loadings: Array

    @classmethod
    def of(cls, seed: int) -> Mixture:
        rng = np.random.default_rng(seed)
        return cls(rng.normal(0, 2, (COMPONENTS, COLUMNS)), rng.normal(0, 1, (COMPONENTS, COLUMNS, FACTORS)))

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Ordinary records, (n, columns)."""
        which = rng.integers(0, COMPONENTS, n)
        factors = rng.normal(size=(n, FACTORS))
        records = self.means[which] + rng.normal(0, NOISE, (n, COLUMNS))
        for place in range(COMPONENTS):
            records[which == place] += factors[which == place] @ self.loadings[place].T
        return records

    def odd(self, n: int, rng: np.random.Generator) -> Array:
        """Anomalies, (n, columns): every other one ordinary in each column but not in their dependence, the rest moved.

        The former take each column from another record. The latter are moved by 6, two to three standard deviations,
        in half of their columns.
        """
        records = self.draw(n, rng)
        mixed = self.draw(n * COLUMNS, rng).reshape(n, COLUMNS, COLUMNS)
        shuffled = np.arange(n) % 2 == 0
        records[shuffled] = np.diagonal(mixed, axis1=1, axis2=2)[shuffled]
        moved = (rng.random((n, COLUMNS)) < 0.5) * rng.choice([-FAR, FAR], (n, COLUMNS))
        records[~shuffled] += moved[~shuffled]
        return records

    def score(self, records: Array) -> Array:
        """-log p exactly, (n,)."""
        logs = np.empty((COMPONENTS, len(records)))
        for place, (mean, loading) in enumerate(zip(self.means, self.loadings, strict=True)):
            root = np.linalg.cholesky(loading @ loading.T + NOISE**2 * np.eye(COLUMNS))
            white = (records - mean) @ np.linalg.inv(root).T
            logs[place] = -0.5 * np.einsum("ij,ij->i", white, white) - np.log(np.diagonal(root)).sum()
        return np.log(COMPONENTS) + COLUMNS / 2 * np.log(2 * np.pi) - logsumexp(logs, axis=0)


def forest(records: Array, *, seed: int) -> Scorer:
    """scikit-learn's isolation forest, fitted on `records`."""
    from sklearn.ensemble import IsolationForest

    fitted = IsolationForest(random_state=seed).fit(records)
    return lambda tried: -fitted.score_samples(tried)


def flow(records: Array, *, seed: int) -> Scorer:
    """`FlowDetector` without kernel densities, fitted on `records`; its own calibration is not used."""
    from flowguard import FlowDetector

    fitted = FlowDetector(random_state=seed, model={"kernel": 0}).fit(records)
    return lambda tried: -fitted.score_samples(tried)
