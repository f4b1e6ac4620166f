"""What a density says of records, in the parts that scores are made of. numpy only: no torch, no columns by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.tail import CONTINUOUS
from flowguard.errors import CalibrationError, FlowguardError

Array = NDArray[np.float64]

FARTHEST = 1e300
"""Logs are held within +-1e300, -inf among them: scores, which add and divide them, stay finite and in order."""


_TERMS = {
    "mass_terms": "probability",
    "density_terms": "density",
    "expert_mass": "probability",
    "expert_density": "density",
    "alone": "probability",
    "blurred": "density",
}
_WHOLE = ("blurred",)


@dataclass(frozen=True, eq=False)
class Parts:
    """Log-probability and log-density of n records, as a whole and by feature.

    Law: log p(record | context) = `log_mass` + `log_density`. Shapes: `log_mass`, `log_density` and `pattern` (n,);
    `mass_terms`, the log probability of each feature's discrete part, and `density_terms`, the log density of its
    value (0 where it has none), (n, features) or None where the density has no such terms. `pattern` has one digit a
    feature; 1 is a continuous value, and records of one pattern share a measure. Anything array-like is taken.

    Where several experts are mixed, `expert_mass` and `expert_density` (n, experts) are those of each, and `alone`
    (n, features) what each column has by itself, log probability and log density together; terms by column then are
    those of the flow. `blurred` (n,) is the log density of the records with their values blurred, which has one measure
    for all patterns. None where there is but one density.

    Errors: ValueError for lengths that differ; FlowguardError for NaN, which would compare as ordinary, and +inf, which
    would be the most ordinary record of all.

    >>> parts = Parts([-0.5, -np.inf], [-2.0, -3.0], ["11", "10"])
    >>> parts.log_mass.tolist(), len(parts.take([0]))
    ([-0.5, -1e+300], 1)
    """

    log_mass: Array
    log_density: Array
    pattern: NDArray[np.str_]
    mass_terms: Array | None = None
    density_terms: Array | None = None
    expert_mass: Array | None = None
    expert_density: Array | None = None
    alone: Array | None = None
    blurred: Array | None = None

    def __post_init__(self) -> None:
        mass, density = (np.asarray(part, dtype=np.float64) for part in (self.log_mass, self.log_density))
        pattern = np.asarray(self.pattern, dtype=str)
        if not len(mass) == len(density) == len(pattern):
            raise ValueError(
                f"{len(mass)} log masses, {len(density)} log densities and {len(pattern)} patterns differ in length"
            )
        broken = _no_number(mass) | _no_number(density)
        if broken.any():
            raise FlowguardError(
                f"{int(broken.sum()):,} of {len(mass):,} records have a log-likelihood that is no number"
            )
        held = {"log_mass": _held(mass), "log_density": _held(density), "pattern": pattern}
        for name, kind in _TERMS.items():
            given = getattr(self, name)
            if given is None:
                continue
            # In one memory order, whatever came in: sums over columns add up in the same order, to the same bits.
            terms = np.asarray(given, dtype=np.float64, order="C")
            if terms.ndim != (1 if name in _WHOLE else 2) or len(terms) != len(mass):
                raise ValueError(f"{len(mass)} records but {name} of shape {terms.shape}")
            if _no_number(terms).any():
                raise FlowguardError(f"a column's log {kind} is no number")
            held[name] = _held(terms)
        for name, values in held.items():
            object.__setattr__(self, name, values)

    @classmethod
    def join(cls, pieces: Sequence[Parts]) -> Parts:
        """The records of all pieces, of which there is at least one, in their order."""

        def terms(name: str) -> Array | None:
            found = [getattr(piece, name) for piece in pieces]
            return None if any(one is None for one in found) else np.concatenate(found)

        mass, density, pattern = (
            np.concatenate([getattr(piece, name) for piece in pieces])
            for name in ("log_mass", "log_density", "pattern")
        )
        return cls(mass, density, pattern, **{name: terms(name) for name in _TERMS})

    def __len__(self) -> int:
        return len(self.log_mass)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp] | Sequence[int]) -> Parts:
        """The records at `rows`, by place or by mask."""
        return Parts(
            self.log_mass[rows],
            self.log_density[rows],
            self.pattern[rows],
            **{name: None if (terms := getattr(self, name)) is None else terms[rows] for name in _TERMS},
        )

    # -- by column ---------------------------------------------------------------------------------------------------

    def columns(self, score: str) -> tuple[Array, NDArray[np.str_]]:
        """Each column's log density and its digit of the pattern, (n, features); `score` is who asks.

        Errors: CalibrationError, which names the remedy, where the density has no terms by column.
        """
        if self.density_terms is None:
            raise _without_terms(score)
        shape = self.density_terms.shape
        digits = np.ascontiguousarray(self.pattern.astype(f"U{shape[1]}")).view("U1").reshape(shape)
        return self.density_terms, digits

    def kinds(self, score: str) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Each column's log probability, log density, and whether it is continuous, (n, features); see `columns`."""
        density, digits = self.columns(score)
        if self.mass_terms is None:
            raise _without_terms(score)
        return self.mass_terms, density, digits == CONTINUOUS


def _no_number(values: Array) -> NDArray[np.bool_]:
    return np.isnan(values) | (values == np.inf)


def _held(values: Array) -> Array:
    return np.clip(values, -FARTHEST, FARTHEST)


def _without_terms(score: str) -> CalibrationError:
    return CalibrationError(
        f"`score: {score}` looks at each column by itself, and this density has no exact terms by column. "
        "Use `model.family: maf` with `order: single`, or another score."
    )
