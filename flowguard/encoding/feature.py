"""The contract of a fitted feature, of whichever kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowguard.encoding.category import Level
from flowguard.encoding.settings import FeatureKind

Array = NDArray[np.float64]

MISSING, FIRST = 1, 2
"""Codes: 0 is the usual case of each kind, 1 is missing, from 2 on they are the kind's own."""


@dataclass(frozen=True)
class Coded:
    """n values of a feature.

    `codes` (n,) int64. `first` and `second` (n,) float64, 0 where the code is not 0: of a number the encoded value
    and log |d encoded / d raw|; of an integer the lower edge of its step and the log width of it, both encoded;
    None of a category. `infinite` (n,) bool says which values cannot be scored (their code is 1), None for none.
    `line` (n,) float64 is the value on a straight scale, in deviations from the mean, an atom's too, 0 where it is
    missing; of a number `line_slope` (n,) is log |d line / d raw|, 0 where the code is not 0. None of a category.
    """

    codes: NDArray[np.int64]
    first: Array | None
    second: Array | None
    infinite: NDArray[np.bool_] | None
    line: Array | None = None
    line_slope: Array | None = None


@dataclass(frozen=True, eq=False)
class Feature(ABC):
    """A fitted feature: entry name, raw column, and the rows of the fit with code 0, 1, 2, ...

    The counts sum to the rows of the fit, less those whose value was infinite: such a record is refused and never
    learned from.
    """

    name: str
    column: str
    counts: tuple[int, ...]
    kind: ClassVar[FeatureKind]

    @property
    def missing(self) -> int:
        """Rows of the fit in which it was missing."""
        return self.counts[MISSING]

    @property
    def step(self) -> float | None:
        """The step of its lattice, in the user's units; None for a continuum and for a category."""
        return None

    @abstractmethod
    def encode(self, array: pa.Array, dither: np.random.Generator | None) -> Coded:
        """The values of a raw column, each on its own; `dither` moves numbers within their lattice step."""

    @abstractmethod
    def decode(self, x: Array) -> Array:
        """Encoded values in the user's units, same shape; `KeyError` for a category, which has none."""

    @abstractmethod
    def level_of(self, code: int) -> Level | None:
        """What a code from 2 on stands for; None where it stands for no single value."""

    def density_column(self) -> dict[str, Any]:
        """What a density must know of it, as plain JSON."""
        return {"kind": self.kind, "counts": list(self.counts)}

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "column": self.column, "counts": list(self.counts)}


def own_place(feature: Feature, code: int) -> int | None:
    """The place of `code` among the codes of the feature's kind, None for 0 and 1; `KeyError` for no code of it."""
    if not 0 <= code < len(feature.counts):
        raise KeyError(f"{feature.name} has no code {code}; its codes are 0 to {len(feature.counts) - 1}")
    return code - FIRST if code >= FIRST else None
