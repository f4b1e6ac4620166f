"""The conditioner: a residual network whose masks say which input reaches which output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowguard.density.squash import calm, squash
from flowguard.density.triangular import Plan, parameters_of, run
from flowguard.density.unrolled import Unrolled

ALIGNED = 8
"""Inputs that a matrix product takes at a time: with fewer left over, where a row lies in memory decides how MKL sums
it, and a record's last bits would depend on its place in the batch. So inputs are filled up with zeros to a multiple of
it where records are scored."""


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

    def masked(self) -> Tensor:
        """The weights, 0 where the mask hides."""
        return self.weight if self.mask is None else self.weight * self.mask

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
    see, it is a learned constant. In training, and there alone, each hidden value is 0 with probability `dropout`.

    Inputs `(batch, inputs)` -> `(batch, targets, size)`; `planes` is the same without moving memory about. What the
    masks hide is not computed (`triangular.py`), and masks are folded once where records are scored. A new network
    returns nearly 0: its flow is nearly the identity.
    """

    into: Tensor | None
    onto: Tensor | None

    def __init__(
        self,
        inputs: Sequence[int],
        targets: Sequence[int],
        *,
        size: int,
        hidden: Sequence[int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout lies in [0, 1), not {dropout}")
        self.targets, self.size, self.dropout = len(targets), size, dropout
        self.input_degrees, self.target_degrees = tuple(inputs), tuple(targets)
        self.unit_degrees: list[tuple[int, ...]] = []
        useful = sorted({degree for degree in inputs if degree < max(targets)})
        into = torch.tensor(list(inputs), dtype=torch.float32)
        out = torch.tensor(list(targets), dtype=torch.float32)
        self.constant: nn.Parameter | None = None
        self._folded: tuple[list[Any], list[Tensor]] | None = None
        self._by_degree("into", inputs)
        self._by_degree("onto", targets)
        if not useful:
            self.constant = nn.Parameter(torch.zeros(self.targets, size))
            return
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden must list positive widths, not {list(hidden)}")
        layers, before = [], into
        for width in hidden:
            self.unit_degrees.append(tuple(useful[i * len(useful) // width] for i in range(width)))
            units = torch.tensor(self.unit_degrees[-1], dtype=torch.float32)
            layers.append(MaskedLinear((units[:, None] >= before[None, :]).float()))
            before = units
        self.layers = nn.ModuleList(layers)
        last = (out[:, None] > before[None, :]).float().repeat_interleave(size, 0)
        self.output = MaskedLinear(last, gain=0.01)
        self.direct = MaskedLinear((out[:, None] > into[None, :]).float(), gain=0.01, bias=False)
        self.plan = Plan.of(sorted(inputs), self.unit_degrees, sorted(targets), size=size)

    def _by_degree(self, name: str, degrees: Sequence[int]) -> None:
        """A buffer: where inputs or targets stand when they are put in order of degree; None if they are."""
        order = sorted(range(len(degrees)), key=degrees.__getitem__)
        place = None if order == list(range(len(degrees))) else torch.tensor(order, dtype=torch.long)
        self.register_buffer(name, place, persistent=False)

    def forward(self, inputs: Tensor, target: int | None = None) -> Tensor:
        """Parameters `(batch, targets, size)`, or `(batch, size)` of one target alone."""
        if self.constant is not None:
            constant = self.constant if target is None else self.constant[target]
            return constant.expand(inputs.shape[0], *constant.shape)
        if target is not None:
            return self._one(inputs, target)
        columns = inputs.T.contiguous()
        found = self.planes(columns if self.into is None else columns.index_select(0, self.into))
        if self.onto is not None:
            found = found.index_select(0, self.onto.argsort())
        return found.permute(2, 0, 1).clone(memory_format=torch.contiguous_format)

    def planes(self, inputs: Tensor) -> Tensor:
        """Parameters `(targets, size, batch)` from inputs `(inputs, batch)`, both in order of degree.

        Laid out so that each parameter of a target is one run of memory over the batch. Without gradients it holds
        until the next call.
        """
        if self.constant is not None:
            constant = self.constant if self.onto is None else self.constant.index_select(0, self.onto)
            return constant.unsqueeze(-1).expand(-1, -1, inputs.shape[1])
        direct, *weights = self.weights()
        dropout = self.dropout if self.training else 0.0
        return parameters_of(self.plan, inputs, calm(inputs), direct, weights, dropout=dropout)

    def planes_and_seen(self, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """`planes`, for good, and what each layer saw `(1 + inputs or units, batch)`, a row of ones first.

        Only without gradients.
        """
        if self.constant is not None:
            return self.planes(inputs), []
        seen: list[Tensor] = []
        direct, *weights = self.weights()
        return run(self.plan, 0.0, inputs, calm(inputs), direct, weights, seen), seen

    def weights(self) -> list[Tensor]:
        """What `parameters_of` multiplies with, the direct path first; made once where records are scored."""
        if self.training or torch.is_grad_enabled():
            return self._fold()
        parameters = list(self.parameters())
        if any(parameter.is_inference() for parameter in parameters):
            return self._fold()  # which tell nobody when they are written to
        # Both the memory and how often it was written to: the weights kept here are those of the parameters as they
        # are. The tensors are held on to, so that no other can take their place in memory.
        now = [(parameter.data_ptr(), parameter._version, parameter.detach()) for parameter in parameters]
        if self._folded is None or [key[:2] for key in self._folded[0]] != [key[:2] for key in now]:
            self._folded = now, self._fold()
        return self._folded[1]

    def _fold(self) -> list[Tensor]:
        layers = [cast(MaskedLinear, layer) for layer in [*self.layers, self.output]]
        weights = [layer.masked() for layer in layers]
        biases = [cast(Tensor, layer.bias) for layer in layers]
        direct = self.direct.masked()
        if self.into is not None:
            weights[0], direct = weights[0].index_select(1, self.into), direct.index_select(1, self.into)
        if self.onto is not None:
            direct = direct.index_select(0, self.onto)
            for rows in (weights, biases):
                rows[-1] = rows[-1].unflatten(0, (-1, self.size)).index_select(0, self.onto).flatten(0, 1)
        return [direct, *(torch.cat((b.unsqueeze(1), w), 1) for w, b in zip(weights, biases, strict=True))]

    def train(self, mode: bool = True) -> Self:
        self._folded = None
        return super().train(mode)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        self._folded = None
        return super()._apply(fn, recurse)

    def _one(self, inputs: Tensor, target: int) -> Tensor:
        """Parameters `(batch, size)` of one target."""
        hidden = self.layers[0](calm(inputs))
        for layer in list(self.layers)[1:]:
            change = layer(self._active(hidden))
            hidden = hidden + change if change.shape == hidden.shape else change
        values = self.output(self._active(hidden), slice(target * self.size, (target + 1) * self.size))
        direct = self.direct(inputs, slice(target, target + 1))
        return values + functional.pad(direct, (0, self.size - 1))

    def _active(self, hidden: Tensor) -> Tensor:
        active = functional.relu(hidden)
        return functional.dropout(active, self.dropout, self.training) if self.dropout else active

    def unrolled(self, free: Tensor) -> Unrolled:
        """The network with its inputs of degree 0 known, `(batch, how many)`, and the others to come."""
        return Unrolled(self, free)


def with_context(x: Tensor, context: Tensor | None, width: int) -> Tensor:
    """Squashed x and context side by side, a network's input.

    Errors: ValueError when the context is not `(batch, width)`.
    """
    found = (x.shape[0], 0) if context is None else tuple(context.shape)
    if found != (x.shape[0], width):
        raise ValueError(f"context has shape {found}; expected {(x.shape[0], width)}")
    return squash(x) if context is None or width == 0 else torch.cat((squash(x), context), -1)
