"""Noise-conditioned densities: a flow that learned every level of noise, and is read at one of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_READ_AT = (0.0, 0.25, 0.5, 0.75, 1.0)


class NoiseLevel(nn.Module):
    """The deviation of the Gaussian noise that a flow is told of: drawn for each record in training, else `level`.

    In training each record is disturbed at a level of its own, up to `largest` deviations of the encoded columns, and
    the flow is told which: p(x + level * e | level). Few records are then many, and the level at which they help each
    other most is found afterwards. Read at one level the flow is an exact density whatever it is, the estimate of p(x)
    smoothed by that much. `level` is saved with the weights.

    The square root of the level is uniform: half of the draws lie below a quarter of the largest. Told is that root,
    standardised.

    Source: Kim et al. 2020 (SoftFlow), who read at level 0; here the held-out likelihood chooses among `candidates`.

    Errors: ValueError for a largest level that is not above 0 and finite.

    Example:
        >>> noise = NoiseLevel(0.4)
        >>> noise.candidates[:3], noise.told(torch.tensor([0.1])).tolist()
        ((0.0, 0.025, 0.1), [[0.0]])
    """

    level: Tensor

    def __init__(self, largest: float) -> None:
        super().__init__()
        if not 0 < largest < math.inf:
            raise ValueError(f"the largest noise is a deviation above 0, not {largest}")
        self.largest = largest
        self.register_buffer("level", torch.zeros(()))

    @property
    def candidates(self) -> tuple[float, ...]:
        """The levels among which one is chosen to read at, from none to the largest."""
        return tuple(self.largest * root * root for root in _READ_AT)

    def read(self, rows: int) -> Tensor:
        """What the flow is told where records are scored, `(rows, 1)`."""
        return self.told(self.level.expand(rows))

    def disturbed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x with noise `(n, m)`, and what the flow is told of its level `(n, 1)`."""
        level = self.largest * torch.rand(len(x), dtype=x.dtype, device=x.device).square()
        return x + level[:, None] * torch.randn_like(x), self.told(level)

    def told(self, level: Tensor) -> Tensor:
        """Levels `(n,)` as a number of mean 0 and deviation 1, `(n, 1)`."""
        return math.sqrt(12) * ((level / self.largest).sqrt() - 0.5).unsqueeze(-1)
