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
"""Centres that are left out in turn, at most; a quarter of them while widths are chosen."""

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
    times as wide, carries the tails, and the weights of both are found by EM on the same likelihood. Numbers that
    repeat should be spread over their step first, or the width collapses.

    Errors: ValueError for fewer than two records.
    """
    inputs = inputs.to(torch.float32).to(torch.float64)  # what is stored has float32's digits

    def with_widths(count: int) -> KernelDensity:
        kernel = KernelDensity(
            columns,
            centres=len(inputs),
            numeric=inputs.context.shape[1],
            cardinalities=cardinalities,
            scale=scale,
            widths=count,
        )
        kernel = kernel.double().eval()
        kernel.codes.copy_(inputs.codes)
        kernel.context.copy_(inputs.context)
        kernel.levels.copy_(inputs.levels)
        kernel.values.copy_(kernel.values_of(inputs))
        return kernel

    places = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))[:QUERIES]
    with torch.no_grad():
        single, kernel = with_widths(1), with_widths(2)
        _choose(single, inputs, places[: QUERIES // 4])
        kernel.context_width.copy_(single.context_width)
        kernel.width.copy_(torch.cat((single.width, single.width * _WIDER)))
        kernel.leak.copy_(torch.cat((single.leak, (single.leak * _LEAKIER).clamp(max=0.9))))
        _weigh(kernel, inputs, places)
        for name, buffer in kernel.named_buffers():
            if buffer.is_floating_point() and name in kernel.state_dict():
                buffer.copy_(buffer.float().double())
    return kernel


def _choose(kernel: KernelDensity, inputs: Inputs, places: Tensor) -> None:
    """Set the one width and leak of `kernel`, and the width of its context, one after another, twice."""
    left_out = inputs.take(places)

    def best(buffer: Tensor, grid: Sequence[float]) -> None:
        tried = {}
        for value in grid:
            buffer.fill_(value)
            tried[value] = float(kernel.log_prob(left_out, leave_out=places).mean())
        buffer.fill_(max(tried, key=lambda value: tried[value]))

    kernel.leak.fill_(0.1)
    kernel.context_width.fill_(0.4)
    coded = any(len(column.live) > 1 for column in kernel.columns) or kernel.levels.shape[1] > 0
    settings = [
        (kernel.width, _WIDTHS, bool(kernel.valued)),
        (kernel.leak, _LEAKS, coded),
        (kernel.context_width, _CONTEXT_WIDTHS, kernel.context.shape[1] > 0),
    ]
    settings = [one for one in settings if one[2]]
    for buffer, grid, _ in settings:
        best(buffer, grid)
    if len(settings) > 1:
        # What was chosen first did not know the others: once more, beside what it was.
        for buffer, grid, _ in settings:
            here = min(range(len(grid)), key=lambda place: abs(grid[place] - float(buffer)))
            best(buffer, grid[max(here - 1, 0) : here + 2])


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
