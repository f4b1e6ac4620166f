"""What an encoder hands to a density."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Encoded:
    """n records as the density reads them: d features, of which m are numbers, j integers and the rest categories.

    `codes` (n, d) int64: of a number 0 continuous, 1 missing, 2.. atoms; of an integer 0 a point of its lattice, 1
    missing, 2 off the lattice; of a category 0 unseen, 1 missing, 2.. levels.
    `x` (n, m) float64 is the encoded continuous value, `log_det` (n, m) its log |d encoded / d raw|; `lower` and
    `log_width` (n, j) are g(v - h/2) and log(g(v + h/2) - g(v - h/2)) of an integer v with lattice step h and front g;
    all four are 0 where the feature's code is not 0.
    `line` (n, m + j) are the values of numbers and then integers on a straight scale, in deviations from the mean, and
    `log_stretch` (n, m) is log |d line / d x| of the numbers, 0 where the code is not 0; atoms have a place on it too.
    `context` (n, c) float64 and `levels` (n, k) int64 are the numeric and categorical context columns.
    `refused` says of each record why it cannot be scored, else None; the infinite value of a refused record is held as
    a missing one. `numbers` and `integers` are the places of these features among the d, ascending.
    """

    x: Array
    codes: NDArray[np.int64]
    lower: Array
    log_width: Array
    log_det: Array
    line: Array
    log_stretch: Array
    context: Array
    levels: NDArray[np.int64]
    refused: list[str | None]
    numbers: tuple[int, ...]
    integers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def observed(self) -> NDArray[np.bool_]:
        """Which numbers have a continuous value, shape (n, m)."""
        return self.codes[:, list(self.numbers)] == 0

    def take(self, rows: NDArray[np.intp]) -> Encoded:
        """The records at `rows`, in that order."""
        return replace(
            self,
            x=self.x[rows],
            codes=self.codes[rows],
            lower=self.lower[rows],
            log_width=self.log_width[rows],
            log_det=self.log_det[rows],
            line=self.line[rows],
            log_stretch=self.log_stretch[rows],
            context=self.context[rows],
            levels=self.levels[rows],
            refused=[self.refused[row] for row in rows],
        )


def reasons(found: Iterable[tuple[str, NDArray[np.bool_]]], n: int) -> list[str | None]:
    """Why each of n records cannot be scored, from causes and the rows each meets; else None."""
    told: list[str | None] = [None] * n
    for why, rows in found:
        for row in np.flatnonzero(rows).tolist():
            before = told[row]
            if before is None:
                told[row] = why
            elif why not in before.split("; "):
                told[row] = f"{before}; {why}"
    return told
