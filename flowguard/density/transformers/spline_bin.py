"""The bin of a spline that a value falls in, without working out the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from flowguard.density.scratch import scratch


def bin_of(
    values: Tensor, parameters: Tensor, *, side: int, bins: int, least: float, bound: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Where each value's bin starts and how long it is, on x and on y, and the raw slopes at its two ends.

    Each `(2, ...)`, for values `(...)` in [-bound, bound] on x (`side` 0) or y (1), and raw parameters `(..., size)`
    as `Spline` has them: widths and heights are softmax shares of the box, at least `least`; the slopes at its ends are
    0, and those between are the raw parameters themselves. What `Spline.knots_and_slopes` gives for all bins, worked
    out for one: over 8 bins that saves three quarters. Every step runs along the batch, parameter by parameter, and
    nothing is chosen by a mask of booleans, which costs torch ten times as much as a product. Derivatives are written
    out, those by `values` being 0.

    Example:
        >>> start, span, raw = bin_of(torch.zeros(1), torch.zeros(1, 5), side=0, bins=2, least=0.01, bound=8.0)
        >>> start[:, 0].tolist(), span[:, 0].tolist()
        ([0.0, 0.0], [8.0, 8.0])
    """
    if torch.is_grad_enabled():
        return _Bin.apply(values, parameters, side, bins, least, bound)
    return _found(values, parameters, side, bins, least, bound, kept=False)[0]


Found = tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, ...]]


def _found(
    values: Tensor, parameters: Tensor, side: int, bins: int, least: float, bound: float, *, kept: bool
) -> Found:
    """What `bin_of` returns, and what its derivative needs."""
    shape, n = values.shape, values.numel()
    planes = parameters.movedim(-1, 0)
    raw = planes[: 2 * bins].unflatten(0, (2, bins))
    weights = parameters.new_empty(2, bins, *shape) if kept else scratch("shares", parameters, 2, bins, *shape)
    torch.sub(raw, raw.amax(1, keepdim=True), out=weights)
    weights.exp_()
    # Added up one by one: how torch sums along rows of memory depends on the place in them.
    sums = scratch("sums", parameters, 2, bins + 1, *shape)
    sums[:, 0] = 0.0
    rungs = sums.unbind(1)
    for place, weight in enumerate(weights.unbind(1)):
        torch.add(rungs[place], weight, out=rungs[place + 1])
    total = sums[:, bins].clone()
    # The edges in place of the sums; both ends exactly, where the identity outside has to be met.
    knots = torch.arange(bins + 1, dtype=sums.dtype, device=sums.device).view(-1, *(1 for _ in shape))
    edges = sums.mul_(((1 - least * bins) * 2 * bound / total).unsqueeze(1)).add_(knots * (least * 2 * bound) - bound)
    edges[:, bins] = bound
    flags = scratch("flags", parameters, bins - 1, *shape)
    place_of = torch.ge(values, edges[side, 1:bins], out=flags).sum(0)
    at = place_of.flatten().long().mul_(n).add_(torch.arange(n, device=values.device))
    following = at + n
    slopes = scratch("slopes", parameters, bins + 1, *shape)
    slopes[0], slopes[-1] = 0.0, 0.0
    slopes[1:-1] = planes[2 * bins :]

    def chosen(*pairs: tuple[Tensor, Tensor]) -> Tensor:
        return torch.stack([table.flatten().index_select(0, rows).view(shape) for table, rows in pairs])

    start = chosen((edges[0], at), (edges[1], at))
    span = chosen((edges[0], following), (edges[1], following)) - start
    ends = chosen((slopes, at), (slopes, following))
    return (start, span, ends), (weights, total, start, span, place_of)


class _Bin(Function):
    """`bin_of`, with the derivatives of the softmax shares and of their sums in closed form."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, parameters: Tensor, side: int, bins: int, least: float, bound: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        found, saved = _found(values, parameters, side, bins, least, bound, kept=True)
        ctx.save_for_backward(*saved)
        ctx.bins, ctx.least, ctx.bound = bins, least, bound
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weights, total, start, span, place_of = ctx.saved_tensors
        bins, least, bound = ctx.bins, ctx.least, ctx.bound
        by_start, by_span, by_ends = grads
        # With p_k the softmax shares: the span is that of its bin, the start the sum of those before it.
        room = 2 * bound * (1 - least * bins)
        own, before = span - 2 * bound * least, start + bound - 2 * bound * least * place_of
        # A share's derivative is p_k (g_k - sum_j p_j g_j), and p_k = weights_k / total.
        mean = (by_span * own + by_start * before) / total
        scale = room / total
        by_start, by_span = by_start * scale, by_span * scale
        rise, without = by_start - by_span, -mean
        planes = weights.new_empty(3 * bins - 1, *total.shape[1:])
        shares = planes[: 2 * bins].unflatten(0, (2, bins))
        flag = torch.ones_like(place_of)
        for place in range(bins):
            following = torch.empty_like(flag)
            torch.ge(place_of, place + 1, out=following)
            # 1 up to the bin, 1 before it, 1 in it.
            found = torch.addcmul(without, flag, by_span).addcmul_(following, rise)
            torch.mul(found, weights[:, place], out=shares[:, place])
            here = flag.sub_(following)
            if place > 0:
                planes[2 * bins + place - 1].addcmul_(here, by_ends[0])
            if place < bins - 1:
                torch.mul(here, by_ends[1], out=planes[2 * bins + place])
            flag = following
        return None, planes.movedim(0, -1), None, None, None, None
