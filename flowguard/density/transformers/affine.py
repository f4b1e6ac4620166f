"""The affine transformer: y = (x - location) * exp(log_scale), both softly bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from flowguard.density.within import within


def bounded_location(raw: Tensor, bound: float) -> Tensor:
    """`raw` itself up to half of `bound`, then bending smoothly so that it never passes it."""
    half = bound / 2
    if within(raw, half):
        return raw
    core = raw.clamp(-half, half)
    return core + half * torch.tanh((raw - core) / half)


def bounded_log_scale(raw: Tensor, low: float, high: float) -> Tensor:
    """`raw` near 0, never outside (low, high), low < 0 < high; slope 1 at 0."""
    return _Bounded.apply(raw, low, high)


class _Bounded(Function):
    """Two bounds and a sum, which cost a fraction of choosing a bound for each value, and their derivative."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, low: float, high: float) -> Tensor:
        above = functional.relu(raw).div_(high).tanh_()
        below = raw.clamp(max=0.0).div_(-low).tanh_()
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(above + below)
        return above.mul_(high).add_(below, alpha=-low)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (tanh,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(grads[0], tanh), None, None


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
