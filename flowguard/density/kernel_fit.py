"""Fitting a kernel density: its centres are training records, its widths are chosen by leaving one out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flowguard.density.column import Column
from flowguard.density.inputs import Inputs
from flowguard.density.kernel import KernelDensity, Scale

QUERIES = 1000
"""Centres that are left out in turn, at most."""

_WIDTHS = tuple(0.01 * 2 ** (step / 2) for step in range(16))
_LEAKS = (0.003, 0.01, 0.03, 0.1, 0.3, 0.8)
_CONTEXT_WIDTHS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 10.0)
_WIDER, _LEAKIER = 4.0, 3.0
_LEAST_WEIGHT, _ROUNDS = 0.02, 30


def fit_kernel(
    inputs: Inputs,
    columns: Sequence[Column],
    *,
    scale: Scale,
    seed: int,
    cardinalities: Sequence[int] = (),
) -> KernelDensity:
    """A kernel density with the records of `inputs` as centres.

    Width, leak and width of the context are those of the largest likelihood of records each left out of the centres
    (Habbema, Hermans, van den Broek 1974; Duin 1976), chosen one after another on a fixed grid; a second width, four
    times as wide, carries the tails, and the weights of both are found by EM on the same likelihood. At most 1,000
    records are left out in turn. Numbers that repeat should be spread over their step first, or the width collapses.

    Errors: ValueError for fewer than two records.
    """
    centres = len(inputs)
    kernel = KernelDensity(
        columns,
        centres=centres,
        numeric=inputs.context.shape[1],
        cardinalities=cardinalities,
        scale=scale,
        widths=2,
    )
    inputs = inputs.to(torch.float32).to(torch.float64)  # what is stored has float32's digits
    kernel = kernel.double().eval()
    kernel.codes.copy_(inputs.codes)
    kernel.context.copy_(inputs.context)
    kernel.levels.copy_(inputs.levels)
    kernel.values.copy_(kernel.values_of(inputs))
    places = torch.randperm(centres, generator=torch.Generator().manual_seed(seed))[:QUERIES]

    def left_out() -> float:
        return float(kernel.log_prob(inputs.take(places), leave_out=places).mean())

    def best(grid: Sequence[float], *buffers: Tensor, times: Sequence[float] = (1.0,)) -> None:
        tried = {}
        for value in grid:
            for buffer, factor in zip(buffers, times, strict=True):
                buffer.fill_(value * factor)
            tried[value] = left_out()
        value = max(tried, key=lambda one: tried[one])
        for buffer, factor in zip(buffers, times, strict=True):
            buffer.fill_(value * factor)

    with torch.no_grad():
        # One width while it is chosen.
        kernel.leak.fill_(0.1)
        kernel.context_width.fill_(0.4)
        for _ in range(2):
            if kernel.valued:
                best(_WIDTHS, kernel.width)
            if any(len(column.live) > 1 for column in columns) or kernel.levels.shape[1]:
                best(_LEAKS, kernel.leak)
            if kernel.context.shape[1]:
                best(_CONTEXT_WIDTHS, kernel.context_width)
        kernel.width[1] = kernel.width[0] * _WIDER
        kernel.leak[1] = min(float(kernel.leak[0]) * _LEAKIER, 0.9)
        _weigh(kernel, inputs, places)
        # Everything that is stored is float32, so that a version reads the same from its bundle.
        for name, buffer in kernel.named_buffers():
            if buffer.is_floating_point() and name in kernel.state_dict():
                buffer.copy_(buffer.float().double())
    return kernel


def _weigh(kernel: KernelDensity, inputs: Inputs, places: Tensor) -> None:
    """The weights of the widths: those of a mixture, by EM (Dempster, Laird, Rubin 1977)."""
    each = []
    for s in range(len(kernel.width)):
        kernel.log_weight.fill_(-math.inf)
        kernel.log_weight[s] = 0.0
        each.append(kernel.log_prob(inputs.take(places), leave_out=places))
    log_each, weight = torch.stack(each), torch.full((len(each), 1), 1 / len(each), dtype=torch.float64)
    for _ in range(_ROUNDS):
        weight = torch.softmax(log_each + weight.log(), 0).mean(1, keepdim=True).clamp(min=_LEAST_WEIGHT)
        weight = weight / weight.sum()
    kernel.log_weight.copy_(weight.log().squeeze(1))
