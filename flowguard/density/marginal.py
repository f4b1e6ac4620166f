"""Every column by itself: what the encoder alone knows of a record."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowguard.density.column import VALUE, Column
from flowguard.density.inputs import Inputs

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_NARROW = 1e-5


class Marginal(nn.Module):
    """The exact density of a record with independent columns, `(n, d)` log-probabilities and log-densities.

    Codes have their frequencies (`Column.shares`); the front of a number makes it standard normal, and that of an
    integer the edges of its steps. Nothing is learned, and nothing depends on other columns or on the context: an
    absurd value is absurd here whatever stands beside it.

    Example:
        >>> marginal = Marginal([Column("number", (90, 10))])
        >>> mass, density = marginal(Inputs.plain(torch.zeros(1, 1)))
        >>> round(mass.exp().item(), 3), round(density.item(), 4)
        (0.9, -0.9189)
    """

    log_share: Tensor
    starts: Tensor

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        sizes = torch.tensor([len(column.counts) for column in columns], dtype=torch.long)
        shares = torch.tensor([share for column in columns for share in column.shares()], dtype=torch.float64)
        self.register_buffer("log_share", shares.clamp(min=1e-300).log(), persistent=False)
        self.register_buffer("starts", sizes.cumsum(0) - sizes, persistent=False)
        self.numbers = [i for i, column in enumerate(columns) if column.kind == "number"]
        self.integers = [i for i, column in enumerate(columns) if column.kind == "integer"]

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """log P of each feature's discrete part and log density of its value in the coordinates of x, `(n, d)` each."""
        like = inputs.x
        mass = self.log_share[self.starts + inputs.codes].to(like.dtype)
        density = torch.zeros_like(mass)
        if self.integers:
            step = log_normal_step(inputs.lower, inputs.log_width)
            there = inputs.codes[:, self.integers] == VALUE
            mass[:, self.integers] += torch.where(there, step, torch.zeros_like(step))
        if self.numbers:
            there = inputs.codes[:, self.numbers] == VALUE
            normal = -0.5 * like**2 - _HALF_LOG_TWO_PI
            density[:, self.numbers] = torch.where(there, normal, torch.zeros_like(normal))
        return mass, density


def log_normal_step(lower: Tensor, log_width: Tensor) -> Tensor:
    """log(Phi(lower + width) - Phi(lower)) of the standard normal, finite in both tails.

    Example:
        >>> log_normal_step(torch.tensor([0.0, 40.0], dtype=torch.float64), torch.zeros(2)).round(decimals=3).tolist()
        [-1.075, -804.608]
    """
    width = log_width.exp()
    # Of the two tails the one in which nothing cancels.
    flip = lower + 0.5 * width > 0
    above = torch.where(flip, -lower, lower + width)
    below = above - width
    log_above, log_below = torch.special.log_ndtr(above), torch.special.log_ndtr(below)
    apart = (log_below - log_above).clamp(max=-1e-12)
    whole = log_above + torch.log(-torch.expm1(apart))
    middle = -0.5 * (lower + 0.5 * width) ** 2 - _HALF_LOG_TWO_PI + log_width
    return torch.where(width < _NARROW, middle, whole)
