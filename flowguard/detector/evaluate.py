"""Exact log-likelihoods in padded tiles of a sealed shape.

A matrix product may sum in another order when its shape changes, so a record's last bits could depend on which records
share its batch. Here every call of the density sees the same number of rows, the last tile filled up with blank ones,
on a fixed number of threads and in float64: a record's numbers depend on the record alone, wherever in a tile it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from flowguard.calibration import Parts
from flowguard.density import Inputs, RecordDensity
from flowguard.encoding import Encoded

# Vectorised loops take so many rows at a time, and compute what is left over by other functions with other last bits.
ROWS = 16


@dataclass(frozen=True)
class Evaluation:
    """What the density says of n records; `log_density` and `terms` are in the table's own units.

    `mass_terms` and `density_terms` have shape (n, features); `density_terms` is None when the family has no exact
    terms by column. `ensemble` is what a mixture of several column orders adds to the sum of its density terms, shape
    (n,), None for one order. `pattern` says of each feature what it was, one digit each: see `pattern_of`.
    """

    log_mass: np.ndarray
    log_density: np.ndarray
    mass_terms: np.ndarray
    density_terms: np.ndarray | None
    pattern: np.ndarray
    ensemble: np.ndarray | None = None

    @property
    def log_likelihood(self) -> np.ndarray:
        """log p(features | context): mass and density together, shape (n,)."""
        return self.log_mass + self.log_density

    @property
    def terms(self) -> np.ndarray | None:
        """Each feature's part of -log_likelihood, shape (n, features), or None.

        Where several column orders are mixed, one more column holds the part that belongs to no feature.
        """
        if self.density_terms is None:
            return None
        terms = -(self.mass_terms + self.density_terms)
        return terms if self.ensemble is None else np.column_stack([terms, -self.ensemble])

    def parts(self, rows: np.ndarray | slice = slice(None)) -> Parts:
        """What scores are made of, of the records at `rows`; FlowguardError where a likelihood is no number."""
        by_column = None if self.density_terms is None else self.density_terms[rows]
        return Parts(self.log_mass[rows], self.log_density[rows], self.pattern[rows], self.mass_terms[rows], by_column)


def evaluate(density: RecordDensity, encoded: Encoded, *, tile: int, threads: int) -> Evaluation:
    """The exact log-likelihood of every encoded record, its parts and its terms by feature."""
    n, d = encoded.codes.shape
    numbers = list(encoded.numbers)
    mass_terms = np.zeros((n, d))
    network_density = np.zeros(n)
    density_terms = np.zeros((n, d)) if density.triangular else None
    ensemble = np.zeros(n) if density.orders > 1 else None
    with sealed_threads(threads), torch.inference_mode():
        density.eval()
        for rows, inputs in tiles(encoded, tile):
            terms = density(inputs)
            size = rows.stop - rows.start
            mass_terms[rows] = terms.mass_terms[:size].double().numpy()
            network_density[rows] = terms.log_density[:size].double().numpy()
            if density_terms is not None:
                density_terms[rows] = terms.density_terms[:size].double().numpy()
            if ensemble is not None:
                ensemble[rows] = terms.ensemble[:size].double().numpy()
    if density_terms is not None:
        density_terms[:, numbers] += encoded.log_det
        log_density = density_terms.sum(axis=1) + (0.0 if ensemble is None else ensemble)
    else:
        log_density = network_density + encoded.log_det.sum(axis=1)
    pattern = pattern_of(encoded.codes, numbers)
    return Evaluation(mass_terms.sum(axis=1), log_density, mass_terms, density_terms, pattern, ensemble)


def refusals(encoded: Encoded, evaluation: Evaluation) -> list[str | None]:
    """Why each record cannot be scored, or None: refused by the encoder, or its likelihood is no number.

    NaN and +inf would pass for ordinary; -inf is a score, the strangest there is.
    """
    numbers = evaluation.log_likelihood < np.inf
    if numbers.all():
        return list(encoded.refused)
    return [
        why or (None if number else "its likelihood is no number")
        for why, number in zip(encoded.refused, numbers.tolist(), strict=True)
    ]


def tiles(encoded: Encoded, tile: int) -> Iterator[tuple[slice, Inputs]]:
    """The records `tile` at a time, filled up to a whole number of `ROWS` with blank ones."""
    n = len(encoded)
    full = -(-tile // ROWS) * ROWS
    for start in range(0, n, tile):
        stop = min(n, start + tile)
        yield slice(start, stop), inputs_of(encoded, slice(start, stop), rows=full)


def inputs_of(encoded: Encoded, part: slice = slice(None), *, rows: int | None = None) -> Inputs:
    """What the density reads of encoded records, in float64; `rows` fills them up with blank ones."""
    names = ("x", "codes", "lower", "log_width", "context", "levels")
    arrays = {name: getattr(encoded, name)[part] for name in names}
    if rows is not None:
        arrays = {name: _padded(array, rows) for name, array in arrays.items()}
    return Inputs(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def _padded(array: np.ndarray, rows: int) -> np.ndarray:
    padded = np.zeros((rows, array.shape[1]), dtype=array.dtype)
    padded[: len(array)] = array
    return padded


def pattern_of(codes: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """What each feature of a record was, as text of one digit a feature; records of one pattern share a measure.

    1: a continuous value, 0: a number that is missing, 2: a number at an atom, or a feature that never has a density.

    >>> pattern_of(np.array([[0, 3], [1, 3], [2, 1]]), [0]).tolist()
    ['12', '02', '22']
    """
    n, d = codes.shape
    digits = np.full((n, d), ord("2"), dtype=np.uint8)
    named = codes[:, numbers]
    digits[:, numbers] = ord("0") + np.where(named == 0, 1, np.where(named == 1, 0, 2))
    return np.ascontiguousarray(digits).view(f"S{d}").reshape(n).astype(str)


@contextmanager
def sealed_threads(threads: int) -> Iterator[None]:
    """Run torch on exactly `threads` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
