"""Records of many kinds to score: columns with units of their own, missing now and then, ties and categories."""

from __future__ import annotations

import numpy as np

from flowguard.calibration import Parts

PRESENT = np.array([1.0, 0.9, 0.6])
LEVELS = np.array([0.7, 0.29, 0.01])


def records(n: int, seed: int, *, days: int = 50, correlated: bool = True) -> tuple[Parts, np.ndarray]:
    """Three numbers (scales 1, 2 and 0.5 nats, units apart) and a category; how they surprise goes together."""
    random = np.random.default_rng(seed)
    seen = random.random((n, 3)) < PRESENT
    together = random.exponential(1.0, (n, 1)) if correlated else np.zeros((n, 1))
    surprise = (random.exponential(1.0, (n, 3)) + together) * [1.0, 2.0, 0.5]
    density = np.zeros((n, 4))
    density[:, :3] = np.round(np.array([-3.0, 16.0, 0.0]) - surprise, 1) * seen
    level = random.choice(3, n, p=LEVELS)
    mass = np.zeros((n, 4))
    mass[:, :3] = np.log(np.where(seen, PRESENT, np.where(PRESENT < 1, 1 - PRESENT, 1.0)))
    mass[:, 3] = np.log(LEVELS)[level]
    pattern = ["".join("01"[int(digit)] for digit in row) + "2" for row in seen]
    return parts_of(mass, density, pattern), random.integers(0, days, n)


def parts_of(mass: np.ndarray, density: np.ndarray, pattern: list[str] | np.ndarray) -> Parts:
    """Parts whose whole is the sum of their terms."""
    with np.errstate(over="ignore"):
        return Parts(mass.sum(axis=1), density.sum(axis=1), np.asarray(pattern), mass, density)


def changed(parts: Parts, column: int, values: np.ndarray, *, kind: str = "density") -> Parts:
    """The first record once for every one of `values`, which stand in one column's terms."""
    assert parts.mass_terms is not None
    assert parts.density_terms is not None
    rows = np.zeros(len(values), dtype=int)
    mass, density = parts.mass_terms[rows], parts.density_terms[rows]
    (density if kind == "density" else mass)[:, column] = values
    return parts_of(mass, density, parts.pattern[rows])
