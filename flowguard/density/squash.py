"""What networks see of far-out values."""

from __future__ import annotations

import torch
from torch import Tensor

from flowguard.density.within import within

LINEAR_TO = 30.0
CALM_TO = 5.0


def squash(x: Tensor, linear_to: float = LINEAR_TO) -> Tensor:
    """x up to 30 deviations, then 30 * (1 + log(|x| / 30)), signed: what a network sees of far-out values.

    Linear where data lives, so that a linear dependence extrapolates; logarithmic beyond, so that 1e6 gives
    the network 342. Only conditioners see it; the density itself is of x.
    """
    # Most batches have nothing that far out, and they are themselves to the last bit.
    if within(x, linear_to):
        return x
    core = x.clamp(-linear_to, linear_to)
    beyond = linear_to * (x.abs() / linear_to).clamp(min=1.0).log()
    return core + torch.copysign(beyond, x)


def calm(x: Tensor) -> Tensor:
    """x up to 5 deviations, then logarithmic as in `squash`: what hidden units see.

    A linear dependence may be followed far out, and the direct path of a network does. What units have bent to fit
    ordinary records may not: taken at its word, one absurd value would make ordinary values of all columns after it
    look absurd.
    """
    return squash(x, CALM_TO)
