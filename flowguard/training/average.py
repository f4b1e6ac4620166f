"""The moving average of the weights, which is what is validated and kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average of the weights (Polyak and Juditsky 1992).

    Single steps at a high learning rate are noisy; their average is smoother and lies nearer to the optimum.
    """

    DECAY = 0.998

    def __init__(self, density: nn.Module) -> None:
        self.weights = copied(density)
        self.steps = 0

    @torch.no_grad()
    def update(self, density: nn.Module) -> None:
        """Take in the weights after one more step; the first steps, still far off, fade quickly."""
        self.steps += 1
        decay = min(self.DECAY, (1 + self.steps) / (10 + self.steps))
        for name, value in density.named_parameters():
            self.weights[name].lerp_(value, 1 - decay)

    @contextmanager
    def applied(self, density: nn.Module) -> Iterator[None]:
        """The averaged weights in place of the current ones inside the block."""
        current = copied(density)
        density.load_state_dict(self.weights)
        try:
            yield
        finally:
            density.load_state_dict(current)


def copied(part: nn.Module) -> dict[str, Tensor]:
    """Its weights and what else is saved with them, apart from what happens to it later."""
    return {name: value.detach().clone() for name, value in part.state_dict().items()}
