"""What an encoder hands to a density."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Encoded:
    """n records as the density reads them: d features, c numeric context columns, k categorical ones.

    `x` (n, d) float64, 0 where missing; `observed` (n, d) bool; `log_det` (n, d) float64, log |d encoded / d
    raw|, 0 where missing; `context` (n, c) float64; `codes` (n, k) int64: 0 unseen, 1 missing, 2.. levels.
    `refused` says of each record why it cannot be scored, else None; the infinite value of a refused record
    is held as a missing one.
    """

    x: Array
    observed: NDArray[np.bool_]
    log_det: Array
    context: Array
    codes: NDArray[np.int64]
    refused: list[str | None]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: NDArray[np.intp]) -> Encoded:
        """The records at `rows`, in that order."""
        return Encoded(
            x=self.x[rows],
            observed=self.observed[rows],
            log_det=self.log_det[rows],
            context=self.context[rows],
            codes=self.codes[rows],
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
