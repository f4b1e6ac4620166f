"""Atoms: numbers that repeat so often that they have a probability beside the density of the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FEWEST = 10
_SHARE = 0.01
_FACTOR = 10
_NEIGHBOURS = 5
_RIVALS = 4


def find_atoms(sample_sorted: Array) -> tuple[float, ...]:
    """The values of a sorted sample whose share stands far out from that of their neighbours, the commonest first.

    An atom occurs at least 10 times, in at least 1 % of the sample, and at least 10 times as often as the median of
    up to 5 distinct values on each side of it. It is the lower median, which is the count of one of them, so that of
    two zero-inflated neighbours neither hides the other. Whole minutes, each about as common as the next, are no
    atoms. Ties of frequency go by value; -0.0 counts as 0.0. At most 32 atoms.

    >>> find_atoms(np.sort(np.append(np.zeros(50), np.linspace(1, 2, 50))))
    (0.0,)
    >>> find_atoms(np.repeat(np.arange(10.0), 50))
    ()
    """
    values, counts = np.unique(sample_sorted, return_counts=True)
    enough = max(_FEWEST, _SHARE * len(sample_sorted))
    found: list[tuple[int, float]] = []
    for place in np.flatnonzero(counts >= enough).tolist():
        beside = np.sort(
            np.concatenate([counts[max(place - _NEIGHBOURS, 0) : place], counts[place + 1 : place + 1 + _NEIGHBOURS]])
        )
        usual = int(beside[(len(beside) - 1) // 2]) if len(beside) else 0
        rivals = int((3 * counts >= counts[place]).sum()) - 1
        if counts[place] >= _FACTOR * usual and rivals <= _RIVALS:
            found.append((-int(counts[place]), float(values[place]) + 0.0))
    return tuple(value for _, value in sorted(found))


def atom_places(values: Array, atoms: Sequence[float]) -> NDArray[np.int64]:
    """Which atom each value equals exactly (-0.0 equals 0.0), -1 for none and for NaN.

    >>> atom_places(np.array([3.0, -0.0, 1.0, np.nan]), (0.0, 3.0)).tolist()
    [1, 0, -1, -1]
    """
    if not atoms:
        return np.full(len(values), -1, dtype=np.int64)
    known = np.array(atoms)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known, values, sorter=order), len(known) - 1)
    nearest = order[place]
    return np.where(known[nearest] == values, nearest, -1).astype(np.int64)


def atom_counts(sample: Array, atoms: Sequence[float], *, observed: int) -> tuple[int, ...]:
    """About how many of the `observed` values were at no atom, and at each atom.

    Atoms are known only after the streamed pass, so their counts are estimated: the share of the sample, which is
    bounded, times `observed`, rounded; exact where the sample holds every row. Each is at least 1 (also that of no
    atom: a column of atoms alone has other values that the sample missed), and they sum to `observed`.

    >>> atom_counts(np.array([0.0, 0.0, 0.0, 1.0]), (0.0,), observed=400)
    (100, 300)
    """
    if not atoms:
        return (observed,)
    places = atom_places(sample, atoms)
    seen = np.bincount(places[places >= 0], minlength=len(atoms)).tolist()
    counts = [max(1, round(count / len(sample) * observed)) for count in seen]
    rest = max(1, observed - sum(counts))
    # The commonest atom takes up what rounding left over.
    counts[0] += observed - rest - sum(counts)
    return (rest, *counts)
