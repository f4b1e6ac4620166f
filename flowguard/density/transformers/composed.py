"""One transformer after another, their parameters side by side."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from flowguard.density.transformers.transformer import Transformer


@dataclass(frozen=True)
class Composed:
    """`parts` applied in turn, data side first; one conditioner predicts the parameters of all.

    Affine then spline is the pair that matters: the affine map carries each conditional to the middle of the
    spline's box, wherever it lies, and the spline shapes it.
    """

    parts: tuple[Transformer, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def _split(self, parameters: Tensor) -> list[Tensor]:
        # Split in front: the derivative puts pieces together where they are split, and parameters may lie one after
        # another in memory.
        pieces = parameters.movedim(-1, 0).split([part.size for part in self.parts])
        return [piece.movedim(0, -1) for piece in pieces]

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        pieces = self._split(parameters)
        x, total = self.parts[0].forward(x, pieces[0])
        for part, piece in zip(self.parts[1:], pieces[1:], strict=True):
            x, log_slope = part.forward(x, piece)
            total = total + log_slope
        return x, total

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        for part, piece in zip(reversed(self.parts), reversed(self._split(parameters)), strict=True):
            y = part.inverse(y, piece)
        return y
