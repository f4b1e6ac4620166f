"""The conditioner: a residual network whose masks say which input reaches which output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LINEAR_TO = 30.0

ALIGNED = 8
"""Inputs that a matrix product takes at a time: with fewer left over, where a row lies in memory decides how MKL sums
it, and a record's last bits would depend on its place in the batch. So inputs are filled up with zeros to a multiple of
it where records are scored."""


def squash(x: Tensor) -> Tensor:
    """x up to 30 deviations, then 30 * (1 + log(|x| / 30)), signed: what a network sees of far-out values.

    Linear where data lives, so that a linear dependence extrapolates; logarithmic beyond, so that 1e6 gives
    the network 342. Only conditioners see it; the density itself is of x.
    """
    core = x.clamp(-LINEAR_TO, LINEAR_TO)
    beyond = LINEAR_TO * (x.abs() / LINEAR_TO).clamp(min=1.0).log()
    return core + torch.copysign(beyond, x)


def aligned_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, aligned: bool) -> Tensor:
    """`functional.linear`, its inputs filled up to a multiple of `ALIGNED` if `aligned`: where records are scored."""
    if aligned and (short := -x.shape[-1] % ALIGNED):
        x, weight = functional.pad(x, (0, short)), functional.pad(weight, (0, short))
    return functional.linear(x, weight, bias)


class MaskedLinear(nn.Module):
    """A linear layer through a fixed 0/1 mask `(outputs, inputs)`."""

    mask: Tensor | None

    def __init__(self, mask: Tensor, *, gain: float = 1.0, bias: bool = True) -> None:
        super().__init__()
        # A unit that sees few inputs starts as large as one that sees many. The multiply is left out where it
        # does nothing.
        reach = gain / mask.sum(1, keepdim=True).clamp(min=1.0).sqrt()
        self.weight = nn.Parameter((torch.rand_like(mask) * 2 - 1) * reach)
        self.bias = nn.Parameter(torch.zeros(mask.shape[0])) if bias else None
        self.register_buffer("mask", None if bool(mask.all()) else mask, persistent=False)

    def forward(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        weight = self.weight[rows]
        if self.mask is not None:
            weight = weight * self.mask[rows]
        bias = None if self.bias is None else self.bias[rows]
        return aligned_linear(x, weight, bias, aligned=not self.training)


class MaskedNetwork(nn.Module):
    """A residual network; inputs and targets have degrees, and a target sees the inputs of lower degree.

    Context has degree 0, so it reaches every target, the first column included. The i-th column (from 1) has
    degree i as input and as target (MADE, Germain et al. 2015; residual blocks keep each unit's degree).
    Hidden units take the degrees that can be of use, spread evenly; where there are fewer units than degrees,
    the direct linear path to each target's first parameter still carries every dependence. With nothing to
    see, it is a learned constant.

    Inputs `(batch, inputs)` -> `(batch, targets, size)`. A new network returns nearly 0: its flow is nearly
    the identity.
    """

    def __init__(self, inputs: Sequence[int], targets: Sequence[int], *, size: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.targets, self.size = len(targets), size
        useful = sorted({degree for degree in inputs if degree < max(targets)})
        into = torch.tensor(list(inputs), dtype=torch.float32)
        out = torch.tensor(list(targets), dtype=torch.float32)
        self.constant: nn.Parameter | None = None
        if not useful:
            self.constant = nn.Parameter(torch.zeros(self.targets, size))
            return
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden must list positive widths, not {list(hidden)}")
        layers, before = [], into
        for width in hidden:
            units = torch.tensor([float(useful[i * len(useful) // width]) for i in range(width)])
            layers.append(MaskedLinear((units[:, None] >= before[None, :]).float()))
            before = units
        self.layers = nn.ModuleList(layers)
        last = (out[:, None] > before[None, :]).float().repeat_interleave(size, 0)
        self.output = MaskedLinear(last, gain=0.01)
        self.direct = MaskedLinear((out[:, None] > into[None, :]).float(), gain=0.01, bias=False)

    def forward(self, inputs: Tensor, target: int | None = None) -> Tensor:
        """Parameters `(batch, targets, size)`, or `(batch, size)` of one target alone."""
        if self.constant is not None:
            constant = self.constant if target is None else self.constant[target]
            return constant.expand(inputs.shape[0], *constant.shape)
        hidden = self.layers[0](inputs)
        for layer in list(self.layers)[1:]:
            change = layer(functional.relu(hidden))
            hidden = hidden + change if change.shape == hidden.shape else change
        hidden = functional.relu(hidden)
        if target is not None:
            values = self.output(hidden, slice(target * self.size, (target + 1) * self.size))
            direct = self.direct(inputs, slice(target, target + 1))
        else:
            values = self.output(hidden).unflatten(-1, (self.targets, self.size))
            direct = self.direct(inputs).unsqueeze(-1)
        return values + functional.pad(direct, (0, self.size - 1))


def with_context(x: Tensor, context: Tensor | None, width: int) -> Tensor:
    """Squashed x and context side by side, a network's input.

    Errors: ValueError when the context is not `(batch, width)`.
    """
    found = (x.shape[0], 0) if context is None else tuple(context.shape)
    if found != (x.shape[0], width):
        raise ValueError(f"context has shape {found}; expected {(x.shape[0], width)}")
    return squash(x) if context is None or width == 0 else torch.cat((squash(x), context), -1)
