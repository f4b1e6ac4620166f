"""Features of kind number: a density, with a probability at each atom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowguard.encoding.atoms import atom_counts, atom_places, find_atoms
from flowguard.encoding.feature import FIRST, MISSING, Coded, Feature, own_place
from flowguard.encoding.number import Number, NumberFit, read_numbers
from flowguard.encoding.settings import FeatureSettings

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NumberFeature(Feature):
    """A number: code 0 has a continuous value, 1 is missing, 2.. are its atoms, the commonest first.

    An atom is met by exact equality of float64 (-0.0 equals 0.0), is never dithered, and has no continuous value.
    The counts of atoms are estimates from a bounded sample (`atom_counts`).
    """

    number: Number
    atoms: tuple[float, ...]
    kind = "number"

    @property
    def step(self) -> float | None:
        return self.number.step

    def encode(self, array: pa.Array, dither: np.random.Generator | None) -> Coded:
        raw = read_numbers(array, column=self.column)
        values = self.number.dithered(raw, dither)
        codes = np.where(np.isfinite(raw), 0, MISSING).astype(np.int64)
        if self.atoms:
            places = atom_places(raw, self.atoms)
            codes = np.where(places >= 0, places + FIRST, codes)
        usual = codes == 0
        front, straight = self.number.front, self.number.line
        if usual.all():
            return Coded(codes, *front.forward(values), None, *straight.forward(values))
        x, log_det, line, line_slope = (np.zeros(len(raw)) for _ in range(4))
        x[usual], log_det[usual] = front.forward(values[usual])
        line[usual], line_slope[usual] = straight.forward(values[usual])
        # An atom has its place on the straight scale too, and no noise.
        at = codes >= FIRST
        line[at] = straight.forward(raw[at])[0]
        infinite = np.isinf(raw)
        return Coded(codes, x, log_det, infinite if infinite.any() else None, line, line_slope)

    def decode(self, x: Array) -> Array:
        return self.number.front.inverse(x)

    def level_of(self, code: int) -> float | None:
        place = own_place(self, code)
        return None if place is None else self.atoms[place]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), **self.number.to_dict(), "atoms": list(self.atoms)}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> NumberFeature:
        common = (state["name"], state["column"], tuple(state["counts"]))
        return cls(*common, Number.from_dict(state), tuple(state["atoms"]))


def number_feature(fit: NumberFit, column: str, settings: FeatureSettings, notices: list[str]) -> NumberFeature:
    """The number that a finished pass has learned; it has at least two distinct values."""
    sample = fit.sample()
    atoms = find_atoms(sample) if settings.atoms else ()
    rest, *at = atom_counts(sample, atoms, observed=fit.observed)
    number = fit.number(settings.front, notices, atoms=atoms)
    return NumberFeature(fit.name, column, (rest, fit.missing, *at), number, atoms)
