"""What was expected of a column, in the user's units."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from flowguard.density import Inputs, RecordDensity

Range = tuple[NDArray[np.float64], NDArray[np.float64]]


class Decoder(Protocol):
    """The part of an encoder that a range needs: names, and the way back to the user's units."""

    @property
    def feature_names(self) -> list[str]: ...

    def decode(self, name: str, x: NDArray[np.float64]) -> NDArray[np.float64]: ...


def expected_range(
    density: RecordDensity, encoder: Decoder, inputs: Inputs, column_index: int, *, level: float = 0.9
) -> Range:
    """Central range of a column given the columns before it and the context, in the user's units.

    Returns ``(low, high)``, float64 ``(n,)``.

    The column's own value is not used, nor whether it has one: the range says what it should have been. Exact for
    single-order densities; others have no conditional quantile and raise TypeError, as a category does. A bound may be
    infinite where the decoder leaves the range of float64.
    """
    if not density.triangular:
        raise TypeError("expected ranges need a density of one column order; this family has no conditional quantiles")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    name = encoder.feature_names[column_index]
    bounds = []
    with torch.no_grad():
        for q in (0.5 - level / 2, 0.5 + level / 2):
            x = density.column_quantile(inputs, column_index, q)
            bounds.append(np.asarray(encoder.decode(name, x.double().cpu().numpy()), dtype=np.float64))
    return bounds[0], bounds[1]


def ranges_of(
    density: RecordDensity, encoder: Decoder, inputs: Inputs, *, level: float = 0.9, tile: int = 64
) -> Callable[[NDArray[np.intp], int], Range]:
    """`expected_range` as the function of (rows, column) that `reasons_for` asks for.

    The density sees `tile` rows in every call, so that a record's range has the same bits whichever records
    were flagged beside it: a matrix product may sum in another order when its shape changes.
    """

    def expected(rows: NDArray[np.intp], column: int) -> Range:
        pieces = []
        for start in range(0, len(rows), tile):
            piece = rows[start : start + tile]
            full = np.concatenate([piece, np.repeat(piece[:1], tile - len(piece))])
            low, high = expected_range(density, encoder, inputs.take(torch.as_tensor(full)), column, level=level)
            pieces.append((low[: len(piece)], high[: len(piece)]))
        return np.concatenate([low for low, _ in pieces]), np.concatenate([high for _, high in pieces])

    return expected
