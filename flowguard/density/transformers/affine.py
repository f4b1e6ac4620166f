"""The affine transformer: y = (x - location) * exp(log_scale), both softly bounded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def bounded_location(raw: Tensor, bound: float) -> Tensor:
    """`raw` itself up to half of `bound`, then bending smoothly so that it never passes it."""
    half = bound / 2
    core = raw.clamp(-half, half)
    return core + half * torch.tanh((raw - core) / half)


def bounded_log_scale(raw: Tensor, low: float, high: float) -> Tensor:
    """`raw` near 0, never outside (low, high), low < 0 < high; slope 1 at 0."""
    bound = torch.where(raw > 0, high, -low)
    return bound * torch.tanh(raw / bound)


@dataclass(frozen=True)
class Affine:
    """y = (x - m) * exp(s), with m and s predicted and softly clamped (Dinh et al. 2017 for the clamp of s).

    Without bounds one wild weight makes exp(s) infinite, or makes it so small that a value of a million looks
    like one of ten. With them the log-density falls at least like -(exp(low) * x)**2 / 2 far out, whatever
    was learned. In a stack the bounds of the layers add up: `by_name.py` shares one budget among them.

    Example:
        >>> import torch
        >>> y, log_slope = Affine().forward(torch.tensor([3.0]), torch.tensor([[1.0, 0.0]]))
        >>> y.item(), log_slope.item()
        (2.0, 0.0)
    """

    location: float = 100.0
    low: float = -2.0
    high: float = 7.0

    @property
    def size(self) -> int:
        return 2

    def _read(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return (
            bounded_location(parameters[..., 0], self.location),
            bounded_log_scale(parameters[..., 1], self.low, self.high),
        )

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        location, log_scale = self._read(parameters)
        return (x - location) * log_scale.exp(), log_scale

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        location, log_scale = self._read(parameters)
        return y * (-log_scale).exp() + location
