"""A table in the form of ADBench, with anomalies that nobody could overlook."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_table(path: Path, *, normal: int = 40, odd: int = 4, columns: int = 2, seed: int = 0) -> Path:
    """Normal rows around 100, anomalies far away, in an order of no meaning."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(100, 5, (normal, columns)), rng.normal(300, 5, (odd, columns))])
    y = np.repeat([0, 1], [normal, odd])
    order = rng.permutation(len(x))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, X=x[order], y=y[order])
    return path
