"""Exact log-likelihoods in padded tiles of a sealed shape.

A matrix product may sum in another order when its shape changes, so a record's last bits could depend on which records
share its batch. Here every call of the density sees the same number of rows, the last tile filled up with blank ones,
on a fixed number of threads and in float64: a record's numbers depend on the record alone, wherever in a tile it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from flowguard.calibration import Parts
from flowguard.density import Inputs, RecordDensity, RecordTerms
from flowguard.encoding import Encoded

# Vectorised loops take so many rows at a time, and compute what is left over by other functions with other last bits.
ROWS = 16


@dataclass(frozen=True)
class ExpertParts:
    """What each of E experts says of n records; see `flowguard.calibration.Parts`.

    `expert_density` (n, E) is on the scale that each measures on: deviations for a kernel density on the straight
    scale, the axis of the front for the others. On the second a value counts as far as it is out of its own column,
    and no column's units or spikes outweigh another's. Terms by column are those of the flow, and those of the columns
    alone, in the table's units; `blurred` (n,) is the log density of the blurred records, per deviation.
    """

    expert_mass: np.ndarray
    expert_density: np.ndarray
    mass_terms: np.ndarray
    density_terms: np.ndarray | None
    alone: np.ndarray
    blurred: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """What the density says of n records; `log_density` and `terms` are in the table's own units.

    `mass_terms` and `density_terms` have shape (n, features); `density_terms` is None when the family has no exact
    terms by column. `ensemble` is what a mixture (of column orders, of experts) adds to the sum of its terms, shape
    (n,), None where nothing is mixed. `experts` is what each expert says, None where there is one density; terms by
    column of their mixture are there only where they were asked for. `pattern` says of each feature what it was, one
    digit each: see `pattern_of`.
    """

    log_mass: np.ndarray
    log_density: np.ndarray
    mass_terms: np.ndarray
    density_terms: np.ndarray | None
    pattern: np.ndarray
    ensemble: np.ndarray | None = None
    experts: ExpertParts | None = None

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
        whole = self.log_mass[rows], self.log_density[rows], self.pattern[rows]
        if self.experts is not None:
            told = {name: None if of is None else of[rows] for name, of in vars(self.experts).items()}
            return Parts(*whole, **told)  # type: ignore[arg-type]
        by_column = None if self.density_terms is None else self.density_terms[rows]
        return Parts(*whole, self.mass_terms[rows], by_column)


def evaluate(
    density: RecordDensity, encoded: Encoded, *, tile: int, threads: int, by_column: bool = True
) -> Evaluation:
    """The exact log-likelihood of every encoded record, its parts and its terms by feature.

    Where there are experts, terms by feature are left out unless `by_column`: they cost more than the total.
    """
    numbers = list(encoded.numbers)
    rows = []
    with sealed_threads(threads), torch.inference_mode():
        density.eval()
        for part, inputs in tiles(encoded, tile):
            rows.append(_arrays(density(inputs, by_column=by_column), part.stop - part.start))
    found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    log_det = encoded.log_det
    mass_terms, density_terms, ensemble = found["mass_terms"], found.get("density_terms"), found.get("ensemble")
    experts = None if density.experts is None else _experts(found, log_det, numbers, density.experts.scales)
    if density_terms is not None:
        density_terms[:, numbers] += log_det
    if experts is None:
        # Summed in float64 by column, so that terms add up to the total.
        log_mass = mass_terms.sum(axis=1)
        log_density = found["log_density"] + log_det.sum(axis=1)
        if density_terms is not None:
            log_density = density_terms.sum(axis=1) + (0.0 if ensemble is None else ensemble)
    else:
        log_mass, log_density = found["log_mass"], found["log_density"] + log_det.sum(axis=1)
    pattern = pattern_of(encoded.codes, numbers)
    return Evaluation(log_mass, log_density, mass_terms, density_terms, pattern, ensemble, experts)


def _arrays(terms: RecordTerms, size: int) -> dict[str, np.ndarray]:
    """The first `size` records of what a density returns, float64, without what is None."""
    found = {name: getattr(terms, name) for name in ("log_mass", "log_density", "mass_terms", "density_terms")}
    if terms.mixed:
        found["ensemble"] = terms.ensemble
    if terms.experts is not None:
        found |= {f"expert {name}": value for name, value in vars(terms.experts).items()}
    return {name: value[:size].double().numpy().copy() for name, value in found.items() if value is not None}


def _experts(
    found: Mapping[str, np.ndarray], log_det: np.ndarray, numbers: Sequence[int], scales: Sequence[str]
) -> ExpertParts:
    """What each expert says; the encoder's log-determinant brings a density from the front's axis to the units."""
    alone, by_flow = found["expert alone_mass"] + found["expert alone_density"], found.get("expert flow_density")
    for terms in (alone, by_flow):
        if terms is not None:
            terms[:, numbers] += log_det
    total = log_det.sum(axis=1, keepdims=True)
    return ExpertParts(
        expert_mass=found["expert log_mass"],
        expert_density=found["expert log_density"] + total * np.array([scale == "line" for scale in scales]),
        mass_terms=found["expert flow_mass"],
        density_terms=by_flow,
        alone=alone,
        blurred=found["expert blurred"],
    )


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
    """The records `tile` at a time, filled up to a whole number of `ROWS` with blank ones; at least one tile."""
    n = len(encoded)
    full = -(-tile // ROWS) * ROWS
    for start in range(0, max(n, 1), tile):
        stop = min(n, start + tile)
        yield slice(start, stop), inputs_of(encoded, slice(start, stop), rows=full)


def inputs_of(encoded: Encoded, part: slice = slice(None), *, rows: int | None = None) -> Inputs:
    """What the density reads of encoded records, in float64; `rows` fills them up with blank ones."""
    names = ("x", "codes", "lower", "log_width", "context", "levels", "line", "log_stretch")
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
