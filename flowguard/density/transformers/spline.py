"""The rational-quadratic spline transformer (Durkan et al. 2019, Neural Spline Flows)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from flowguard.density.transformers.spline_bin import bin_of


def rational_quadratic(x: Tensor, start: Tensor, span: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """The monotone spline in one bin: `start` and `span` `(2, ...)` of x and of y, `slopes` `(2, ...)` at its ends.

    Returns its value and log-derivative (equations 4 and 5 of the paper) for x in the bin.
    """
    (x0, y0), (width, height), (d0, d1) = start, span, slopes
    s = height / width
    t = (x - x0) / width
    tt = t * (1 - t)
    below = s + (d1 + d0 - 2 * s) * tt
    y = y0 + height * (s * t * t + d0 * tt) / below
    above = d1 * t * t + 2 * s * tt + d0 * (1 - t) ** 2
    return y, (above * (s / below) ** 2).log()


def rational_quadratic_inverse(y: Tensor, start: Tensor, span: Tensor, slopes: Tensor) -> Tensor:
    """The x of `rational_quadratic`, by the root of the quadratic that does not cancel (equations 6 to 8)."""
    (x0, y0), (width, height), (d0, d1) = start, span, slopes
    s = height / width
    rise = y - y0
    bend = rise * (d1 + d0 - 2 * s)
    a, b, c = height * (s - d0) + bend, height * d0 - bend, -s * rise
    # Rounding can push the discriminant of a point on a knot just below 0.
    root = (b * b - 4 * a * c).clamp(min=0).sqrt()
    return x0 + width * 2 * c / (-b - root)


@dataclass(frozen=True)
class Spline:
    """A monotone rational-quadratic spline on [-bound, bound], the identity outside.

    Bins have a least width and height (`least`, a share of the box) and slopes at the knots stay within
    exp(+-steepest), so no parameters make it flat, infinite or NaN. The identity outside keeps the tails of
    the density falling as fast as the base's; put an affine map before it to carry the box where the data is.

    Errors: ValueError when the bins do not fit the box.

    Example:
        >>> import torch
        >>> y, log_slope = Spline(bins=4).forward(torch.tensor([0.5, 1e6]), torch.zeros(2, 11))
        >>> y.tolist(), log_slope.abs().max().item() < 1e-6
        ([0.5, 1000000.0], True)
    """

    bins: int = 8
    bound: float = 8.0
    least: float = 4e-3
    steepest: float = math.log(250.0)

    def __post_init__(self) -> None:
        if self.bins < 2 or self.bins * self.least > 0.5:
            raise ValueError(f"a spline needs 2 to {int(0.5 / self.least)} bins, not {self.bins}")

    @property
    def size(self) -> int:
        return 3 * self.bins - 1

    def knots_and_slopes(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Raw parameters `(..., size)` to knots `(..., 2, bins + 1)` and slopes `(..., bins + 1)`."""
        raw = parameters[..., : 2 * self.bins].unflatten(-1, (2, self.bins))
        # Softmax written out: over so few bins torch's own takes several times as long.
        weights = (raw - raw.detach().amax(-1, keepdim=True)).exp()
        sides = self.least + (1 - self.least * self.bins) * weights / weights.sum(-1, keepdim=True)
        knots = functional.pad(sides.cumsum(-1), (1, 0)) * (2 * self.bound) - self.bound
        inner = self.steepest * torch.tanh(parameters[..., 2 * self.bins :] / self.steepest)
        # Slope 1 at both ends meets the identity outside.
        return knots, functional.pad(inner, (1, 1)).exp()

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        # Only the clamped value meets the spline; what it lost is added back. At the ends the slope is 1, so
        # value, derivative and gradients outside are those of the identity without a branch that could be
        # NaN.
        inside = x.clamp(-self.bound, self.bound)
        y, log_slope = rational_quadratic(inside, *self._bin(inside, parameters, side=0))
        return y + (x - inside), log_slope

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        inside = y.clamp(-self.bound, self.bound)
        return rational_quadratic_inverse(inside, *self._bin(inside, parameters, side=1)) + (y - inside)

    def _bin(self, values: Tensor, parameters: Tensor, *, side: int) -> tuple[Tensor, Tensor, Tensor]:
        """Start and span of the bin that each value falls in, and the slopes at its ends."""
        start, span, raw = bin_of(values, parameters, side=side, bins=self.bins, least=self.least, bound=self.bound)
        return start, span, (self.steepest * torch.tanh(raw / self.steepest)).exp()
