"""The upper tail of the standard normal, its Mills ratio and its quantiles, exact however far out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_HALF_LOG_HALF_PI = 0.5 * math.log(math.pi / 2)
# Where the normal quantile of exp(log_tail) is still accurate in float32, and from where two terms of its expansion
# start Newton's method close enough.
_FAR = -30.0


def log_tail_and_mills(t: Tensor) -> tuple[Tensor, Tensor]:
    """log Q(t) and the log Mills ratio log(Q(t) / phi(t)), Q the upper tail of the standard normal, phi its density.

    Both are accurate to rounding for every t: by the scaled complementary error function erfcx for t >= 0, where Q
    itself underflows. Derivatives are -h and t - h with the hazard h = phi / Q = exp(-log Mills); the second does not
    cancel far out, where it is -1/t. Source: Abramowitz and Stegun 7.1.13 and 26.2.14.

    Example:
        >>> import torch
        >>> log_tail, log_mills = log_tail_and_mills(torch.tensor([0.0, 1e6]))
        >>> round(log_tail[0].exp().item(), 6), bool(log_tail[1].isfinite())
        (0.5, True)
    """
    return _Tail.apply(t)


def tail_quantile(log_tail: Tensor) -> Tensor:
    """The t with log Q(t) = `log_tail`, for tails up to a half and a little above.

    Source: `ndtri` (Cephes) near the middle; far out Newton's method on log Q, which is concave and nearly quadratic.

    Example:
        >>> import torch
        >>> round(tail_quantile(torch.tensor(0.05).log()).item(), 3)
        1.645
    """
    return _Quantile.apply(log_tail)


def _steepening(t: Tensor, hazard: Tensor) -> Tensor:
    """h(t) - t > 0: by Laplace's continued fraction 1/(t + 2/(t + 3/(t + ..))) where the difference would cancel."""
    far = t.clamp(min=5.0)
    fraction = far
    for level in range(14, 1, -1):
        fraction = far + level / fraction
    return torch.where(t > 5.0, 1.0 / fraction, hazard - t)


class _Tail(Function):
    """log Q and log Mills ratio from one erfcx, with derivatives that stay exact in both tails."""

    @staticmethod
    def forward(ctx: Any, t: Tensor) -> tuple[Tensor, Tensor]:
        square = 0.5 * t * t
        below = torch.special.log_ndtr(-t.clamp(max=0.0))
        above = torch.special.erfcx(t.clamp(min=0.0) * math.sqrt(0.5)).log()
        log_mills = torch.where(t < 0, below + square + _HALF_LOG_TWO_PI, above + _HALF_LOG_HALF_PI)
        log_tail = torch.where(t < 0, below, above - square - math.log(2.0))
        ctx.save_for_backward(t, log_mills)
        return log_tail, log_mills

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        t, log_mills = ctx.saved_tensors
        hazard = (-log_mills).exp()
        return -grads[0] * hazard - grads[1] * _steepening(t, hazard)


class _Quantile(Function):
    """The inverse of log Q; its derivative is minus the Mills ratio there."""

    @staticmethod
    def forward(ctx: Any, log_tail: Tensor) -> Tensor:
        near = -torch.special.ndtri(log_tail.clamp(min=_FAR).exp())
        twice = -2 * log_tail.clamp(max=_FAR)
        t = (twice - math.log(2 * math.pi) - twice.log()).sqrt()
        for _ in range(3):
            found, log_mills = _Tail.apply(t)
            t = t + (found - log_tail.clamp(max=_FAR)) * log_mills.exp()
        t = torch.where(log_tail < _FAR, t, near)
        ctx.save_for_backward(t)
        return t

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (t,) = ctx.saved_tensors
        _, log_mills = _Tail.apply(t)
        return -grads[0] * log_mills.exp()
