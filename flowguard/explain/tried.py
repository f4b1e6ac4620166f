"""Values that are tried in one column of some records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowguard.explain.conditional import MISSING, VALUE

if TYPE_CHECKING:
    from flowguard.density import Inputs
    from flowguard.encoding import Encoder
    from flowguard.encoding.feature import Coded, Feature

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Tried:
    """Values of a number or integer, k in each of the records at `rows` (n,), as the encoder reads them, (n, k) each.

    `codes`, `first`, `second`, `line` and `line_slope` are those of `Coded`.
    """

    column: int
    rows: Rows
    codes: NDArray[np.int64]
    first: Array
    second: Array
    line: Array
    line_slope: Array | None

    @classmethod
    def values(cls, encoder: Encoder, rows: Rows, column: int, axis: Array) -> Tried:
        """`axis` (n, k), values on the density's axis, as the values of the table that they stand for."""
        feature = encoder.features[column]
        return cls._of(rows, column, feature, pa.array(feature.decode(axis.reshape(-1))), axis.shape[1])

    @classmethod
    def named(cls, encoder: Encoder, rows: Rows, column: int, codes: NDArray[np.int64]) -> Tried:
        """Atoms and what is missing, by code (n, k)."""
        feature = encoder.features[column]
        levels = [None if code == MISSING else feature.level_of(int(code)) for code in codes.reshape(-1)]
        return cls._of(rows, column, feature, pa.array(levels, pa.float64()), codes.shape[1])

    @classmethod
    def _of(cls, rows: Rows, column: int, feature: Feature, values: pa.Array, k: int) -> Tried:
        coded: Coded = feature.encode(values, None)
        assert coded.first is not None
        assert coded.second is not None
        assert coded.line is not None
        shape = len(rows), k
        first, second, line = (part.reshape(shape) for part in (coded.first, coded.second, coded.line))
        slope = None if coded.line_slope is None else coded.line_slope.reshape(shape)
        return cls(column, rows, coded.codes.reshape(shape), first, second, line, slope)

    @property
    def log_stretch(self) -> Array:
        """log |d line / d axis| of a number."""
        assert self.line_slope is not None
        return self.line_slope - self.second

    def take(self, some: NDArray[np.bool_]) -> Tried:
        """In some of the records."""
        return (
            self
            if some.all()
            else Tried(
                self.column,
                self.rows[some],
                self.codes[some],
                self.first[some],
                self.second[some],
                self.line[some],
                None if self.line_slope is None else self.line_slope[some],
            )
        )

    def inputs(self, given: Inputs, place: int, numbers: int) -> Inputs:
        """The records of `given` with each of the values, n k of them, row by row.

        `place` is that of the column among the numbers and then the integers, `numbers` how many numbers there are.
        """
        many = given.take(torch.from_numpy(np.repeat(np.asarray(self.rows, dtype=np.int64), self.codes.shape[1])))

        def put(part: Tensor | None, at: int, values: NDArray[np.generic]) -> Tensor | None:
            if part is None:
                return None
            part = part.clone()
            part[:, at] = torch.from_numpy(values.reshape(-1))
            return part

        moved: dict[str, Tensor | None] = {"codes": put(many.codes, self.column, self.codes)}
        moved["line"] = put(many.line, place, self.line)
        if place < numbers:
            moved["x"] = put(many.x, place, self.first)
            moved["log_stretch"] = put(many.log_stretch, place, self.log_stretch)
        else:
            moved["lower"] = put(many.lower, place - numbers, self.first)
            moved["log_width"] = put(many.log_width, place - numbers, self.second)
        return replace(many, **moved)  # type: ignore[arg-type]

    @property
    def valued(self) -> NDArray[np.bool_]:
        """Which are values, none of them an atom, (n, k)."""
        return np.asarray(self.codes == VALUE)
