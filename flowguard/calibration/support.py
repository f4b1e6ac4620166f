"""What the records of a calibration can support: a policy in every cell, and a tail of each cell's scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.cells import ALL, Cells
from flowguard.calibration.extrapolate import Tail
from flowguard.calibration.policy import Policy
from flowguard.calibration.scores import Score
from flowguard.errors import CalibrationError

Array = NDArray[np.float64]


def tails_of(cells: Cells, references: Sequence[Array]) -> tuple[Tail, ...]:
    """The tail of each cell's scores; `CalibrationError` names the cell where there is none to fit."""
    found = []
    for name, reference in zip(cells.names, references, strict=True):
        try:
            found.append(Tail.fit(reference))
        except CalibrationError as error:
            raise CalibrationError(f"extrapolate: {error}{_of_cell(name)}") from None
    return tuple(found)


def _of_cell(name: str) -> str:
    return "" if name == ALL else f" in the cell {name!r}"


def check_support(policy: Policy, cells: Cells, sizes: NDArray[np.int64], rows: int, score: type[Score]) -> None:
    """Raise `CalibrationError` where a cell is too small for the policy."""
    for name, size in zip(cells.names, sizes.tolist(), strict=True):
        try:
            policy.check(size)
        except CalibrationError as error:
            half = (
                f" (of {rows:,} records held out, one half is what the score `{score.name}` ranks among, and the other "
                "half is the reference)"
            )
            raise CalibrationError(f"{error}{_of_cell(name)}{half if score.ranks else ''}") from None
