"""The probability of an integer's step: a mixture of logistic distributions, cut at the edges of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor
from torch.nn import functional

from flowguard.density.transformers.affine import bounded_location, bounded_log_scale

# The network's outputs start near 0 and move by thousandths a step; integers pile up on single values, far from there.
_PACE = 4.0
_USUAL = math.log(0.3)
_TINY = -14.0  # log of a width relative to the scale below which 1 - exp(-w) is w to rounding in float32
_BISECTIONS = 80


@dataclass(frozen=True)
class Steps:
    """P(step) = sum_c w_c (F((upper - m_c) / s_c) - F((lower - m_c) / s_c)), F the logistic distribution function.

    Over a whole lattice the sum telescopes to 1. Each difference is F(b) F(-a) (1 - exp(a - b)), b = upper, a = lower,
    so nothing cancels in either tail. Parameters: `(..., 3 * components)`, from a network; at 0 the components lie at
    normal quantiles. Source: the discretised logistic mixture of PixelCNN++ (Salimans et al. 2017), there for pixels.

    Example:
        >>> steps, parameters = Steps(2), torch.zeros(1, 6)
        >>> edges = torch.arange(-40.0, 40.0, 0.5)
        >>> round(steps.log_prob(edges, torch.full((160,), math.log(0.5)), parameters).exp().sum().item(), 5)
        1.0
    """

    components: int = 8

    @property
    def size(self) -> int:
        """Parameters for one column."""
        return 3 * self.components

    def _read(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, locations and log scales, each `(..., components)`."""
        weight, location, scale = (_PACE * parameters).unflatten(-1, (3, self.components)).unbind(-2)
        normal = NormalDist()
        anchors = parameters.new_tensor([normal.inv_cdf((c + 0.5) / self.components) for c in range(self.components)])
        return (
            torch.log_softmax(weight, -1),
            anchors + bounded_location(location, 100.0),
            _USUAL + bounded_log_scale(scale, -12.0, 4.0),
        )

    def log_prob(self, lower: Tensor, log_width: Tensor, parameters: Tensor) -> Tensor:
        """log P of the steps that begin at `lower`, `(...)`, given their parameters."""
        log_weight, location, log_scale = self._read(parameters)
        log_rise = (log_width.unsqueeze(-1) - log_scale).clamp(max=60.0)
        rise = log_rise.exp()
        start = (lower.unsqueeze(-1) - location) * (-log_scale).exp()
        inside = torch.where(log_rise < _TINY, log_rise, (-torch.expm1(-rise.clamp(min=math.exp(_TINY)))).log())
        each = functional.logsigmoid(start + rise) + functional.logsigmoid(-start) + inside
        return torch.logsumexp(log_weight + each, -1)

    def quantile(self, q: Tensor, parameters: Tensor) -> Tensor:
        """The point below which the mixture holds the probability `q`, `(...)`; by bisection, to rounding."""
        log_weight, location, log_scale = self._read(parameters)
        edge = torch.special.logit(q).unsqueeze(-1)
        # The mixture's quantile lies among those of its components.
        ends = location + edge * log_scale.exp()
        low, high = ends.min(-1).values, ends.max(-1).values
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = (log_weight.exp() * ((middle.unsqueeze(-1) - location) * (-log_scale).exp()).sigmoid()).sum(-1)
            low, high = torch.where(below < q, middle, low), torch.where(below < q, high, middle)
        return (low + high) / 2
