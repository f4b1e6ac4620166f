"""The mixture-CDF transformer: z = Phi^-1(F(x)), F the distribution function of a mixture of Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor
from torch.nn import functional

from flowguard.density.transformers.affine import bounded_location
from flowguard.density.transformers.normal_tail import log_tail_and_mills, tail_quantile

# Bisection alone needs so many steps in float64; Newton usually five.
_STEPS = 80


@dataclass(frozen=True)
class Mixture:
    """z = Phi^-1(sum_k w_k Phi((x - m_k) / s_k)): x has the density of that mixture when z is standard normal.

    Source: Ho et al. 2019 (Flow++) and Papamakarios et al. 2021 (Normalizing Flows, section 3.1.1), with Gaussian
    components and the normal quantile in place of logistic ones. Unlike a spline it is smooth, and modes far narrower
    than a bin are a matter of one component.

    The first component is N(0, 1), an anchor: all others are narrower (`narrowest` <= s_k <= `widest` < 1), their
    locations stay within `bound` and no weight falls below `least`. So whatever was learned, far out the map tends to
    the identity on both sides, and between two modes it is never too flat to be inverted. Put an affine map before it
    to carry the box where the data is. With zero parameters the others stand evenly over the normal distribution
    (equal ones would learn alike), and the map is nearly the identity.

    Numerics: of F and 1 - F always the smaller is computed, as a logarithm. With Q the upper tail, h = phi / Q its
    hazard and r_k the share of component k in the tail, dz/dx = sum_k r_k h(t_k) / s_k / h(t), where t_k = |x - m_k|
    / s_k and t = |z| carry the tail's sign: nothing cancels, so 1e6 is as exact as 1.

    Errors: ValueError for fewer than 2 components, or so many that `least` of each takes half of the weight.

    Example:
        >>> import torch
        >>> mixture = Mixture(components=4)
        >>> z, log_slope = mixture.forward(torch.tensor([0.5, 1e6]), torch.zeros(2, mixture.size))
        >>> [round(v, 1) for v in z.tolist()], bool(log_slope.abs().max() < 0.5)
        ([0.5, 1000000.0], True)
    """

    components: int = 8
    bound: float = 5.0
    least: float = 1e-4
    narrowest: float = math.exp(-5.0)
    widest: float = 0.95

    def __post_init__(self) -> None:
        if self.components < 2 or self.components * self.least > 0.5:
            raise ValueError(f"a mixture needs 2 to {int(0.5 / self.least)} components, not {self.components}")

    @property
    def size(self) -> int:
        return 3 * self.components - 2

    def weights_and_shapes(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, locations and log scales, each `(..., components)`, of raw parameters `(..., size)`."""
        others = self.components - 1
        # Side by side: how a sum over rows of memory rounds may depend on the place in them.
        raw_weight, raw_location, raw_scale = parameters.contiguous().split([self.components, others, others], dim=-1)
        share = functional.softmax(raw_weight, dim=-1)
        log_weight = (self.least + (1 - self.least * self.components) * share).log()
        # Spread like a normal sample of deviation 0.6 and each 0.8 wide: together of variance 1.
        spread = [0.6 * NormalDist().inv_cdf((i + 0.5) / others) for i in range(others)]
        location = bounded_location(raw_location + raw_location.new_tensor(spread), self.bound)
        # 0.8 at 0; softplus alone bounds it above, since a steep bound would hold on to what was once too wide.
        narrowing = functional.softplus(math.log(self.widest / 0.8 - 1) - raw_scale)
        span = math.log(self.widest / self.narrowest)
        log_scale = math.log(self.widest) - span * torch.tanh(narrowing / span)
        return log_weight, functional.pad(location, (1, 0)), functional.pad(log_scale, (1, 0))

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        log_weight, location, log_scale = self.weights_and_shapes(parameters)
        u = (x.unsqueeze(-1) - location) * (-log_scale).exp()
        with torch.no_grad():
            below = (log_weight.exp() * torch.special.ndtr(u)).sum(-1)
            side = torch.where(below > 0.5, 1.0, -1.0).to(x.dtype)
        log_tail, log_mills = log_tail_and_mills(side.unsqueeze(-1) * u)
        joint = log_weight + log_tail
        t = tail_quantile(torch.logsumexp(joint, -1))
        _, mills_of_t = log_tail_and_mills(t)
        slopes = functional.log_softmax(joint, -1) - log_mills - log_scale
        return side * t, torch.logsumexp(slopes, -1) + mills_of_t

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        with torch.no_grad():
            x = self._solve(y, parameters)
        if not torch.is_grad_enabled():
            return x
        # The implicit function's derivatives: one Newton step that moves nothing but carries the gradients.
        found, log_slope = self.forward(x, parameters)
        step = (y - found) * (-log_slope.detach().clamp(min=-30.0)).exp()
        return x + (step - step.detach())

    def _solve(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Newton's method inside a bracket that every step narrows; each element stops on its own.

        A quantile of a mixture lies between the least and the greatest quantile of its components.
        """
        _, location, log_scale = self.weights_and_shapes(parameters)
        quantiles = location + log_scale.exp() * y.unsqueeze(-1)
        low, high = quantiles.amin(-1), quantiles.amax(-1)
        x = (low + high) / 2
        moving = torch.ones_like(x, dtype=torch.bool)
        last = before = high - low
        for _ in range(_STEPS):
            found, log_slope = self.forward(x, parameters)
            excess = found - y
            low, high = torch.where(excess < 0, x, low), torch.where(excess > 0, x, high)
            step = excess * (-log_slope).exp()
            # A step that does not halve within two, leaves the bracket or is no number gives way to bisection.
            newton = (step.abs() <= before / 2) & (x - step >= low) & (x - step <= high)
            after = torch.where(newton, x - step, (low + high) / 2)
            last, before = (after - x).abs(), last
            # An element that has arrived is left alone, so that its digits are its own, whatever stands beside it.
            moving = moving & (excess != 0)
            x = torch.where(moving, after, x)
            moving = moving & (last > 2 * torch.finfo(x.dtype).eps * x.abs().clamp(min=1.0))
            if not bool(moving.any()):
                break
        return x
