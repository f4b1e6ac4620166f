"""The conditioner: a residual network whose masks say which input reaches which output."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

LINEAR_TO = 30.0
CALM_TO = 5.0

ALIGNED = 8
"""Inputs that a matrix product takes at a time: with fewer left over, where a row lies in memory decides how MKL sums
it, and a record's last bits would depend on its place in the batch. So inputs are filled up with zeros to a multiple of
it where records are scored."""


def squash(x: Tensor, linear_to: float = LINEAR_TO) -> Tensor:
    """x up to 30 deviations, then 30 * (1 + log(|x| / 30)), signed: what a network sees of far-out values.

    Linear where data lives, so that a linear dependence extrapolates; logarithmic beyond, so that 1e6 gives
    the network 342. Only conditioners see it; the density itself is of x.
    """
    core = x.clamp(-linear_to, linear_to)
    beyond = linear_to * (x.abs() / linear_to).clamp(min=1.0).log()
    return core + torch.copysign(beyond, x)


def calm(x: Tensor) -> Tensor:
    """x up to 5 deviations, then logarithmic as in `squash`: what hidden units see.

    A linear dependence may be followed far out, and the direct path of a network does. What units have bent to fit
    ordinary records may not: taken at its word, one absurd value would make ordinary values of all columns after it
    look absurd.
    """
    return squash(x, CALM_TO)


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
    see, it is a learned constant. In training, and there alone, each hidden value is 0 with probability `dropout`.

    Inputs `(batch, inputs)` -> `(batch, targets, size)`. A new network returns nearly 0: its flow is nearly
    the identity.
    """

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

    def forward(self, inputs: Tensor, target: int | None = None) -> Tensor:
        """Parameters `(batch, targets, size)`, or `(batch, size)` of one target alone."""
        if self.constant is not None:
            constant = self.constant if target is None else self.constant[target]
            return constant.expand(inputs.shape[0], *constant.shape)
        hidden = self.layers[0](calm(inputs))
        for layer in list(self.layers)[1:]:
            change = layer(self._active(hidden))
            hidden = hidden + change if change.shape == hidden.shape else change
        hidden = self._active(hidden)
        if target is not None:
            values = self.output(hidden, slice(target * self.size, (target + 1) * self.size))
            direct = self.direct(inputs, slice(target, target + 1))
        else:
            values = self.output(hidden).unflatten(-1, (self.targets, self.size))
            direct = self.direct(inputs).unsqueeze(-1)
        return values + functional.pad(direct, (0, self.size - 1))

    def _active(self, hidden: Tensor) -> Tensor:
        active = functional.relu(hidden)
        return functional.dropout(active, self.dropout, self.training) if self.dropout else active

    def unrolled(self, free: Tensor) -> Unrolled:
        """The network with its inputs of degree 0 known, `(batch, how many)`, and the others to come."""
        return Unrolled(self, free)


class Unrolled:
    """A masked network whose inputs become known by and by, in order of degree.

    `parameters(i)` equals `network(inputs, i)` but for rounding. A unit of degree g sees degrees up to g alone, and
    units stand in order of degree. So as soon as the inputs of degree g are known, its units follow once and for all:
    their rows times the columns known so far, among which the mask hides none. All targets together cost about one
    pass, where a pass for each would cost as many as there are targets.

    Activations lie `(units, batch)`, so that those known so far are one block of memory. Products are not filled up
    as in `aligned_linear`: nothing is scored here, and a value's last bits may depend on its place in the batch.

    Errors: ValueError for inputs out of turn, and for a target before all that it sees is known.

    Example:
        >>> network = MaskedNetwork([1, 2, 0], [1, 2], size=4, hidden=(8, 8))
        >>> x = torch.randn(5, 3)
        >>> unrolled = network.unrolled(x[:, 2:])
        >>> unrolled.reveal(1, x[:, :1])
        >>> bool(torch.allclose(unrolled.parameters(1), network(x, 1), atol=1e-6))
        True
    """

    def __init__(self, network: MaskedNetwork, free: Tensor) -> None:
        self.network, self.batch = network, free.shape[0]
        self.degrees = sorted(network.input_degrees)
        self.inputs, self.calm = (_Known(len(self.degrees), free) for _ in range(2))
        self.hidden = [_Known(len(units), free) for units in network.unit_degrees]
        self.linear: list[tuple[Tensor, Tensor | None]] = []
        if network.constant is None:
            # Inputs come by degree, so the columns of what reads them have to stand in that order too.
            place = sorted(range(len(self.degrees)), key=network.input_degrees.__getitem__)
            layers = [cast(MaskedLinear, layer) for layer in network.layers]
            self.linear = [(layer.weight, layer.bias) for layer in layers]
            self.linear[0] = layers[0].weight[:, place], layers[0].bias
            self.direct = network.direct.weight[:, place]
        self.reveal(0, free)

    def reveal(self, degree: int, values: Tensor) -> None:
        """All inputs of one degree, `(batch, how many)`, in their order among the network's inputs."""
        first, last = bisect_left(self.degrees, degree), bisect_right(self.degrees, degree)
        found, expected = (len(self.inputs.rows), tuple(values.shape)), (first, (self.batch, last - first))
        if found != expected:
            raise ValueError(
                f"inputs of degree {degree} come after {first} others and are {expected[1]}; "
                f"got {found[1]} after {found[0]}"
            )
        self.inputs.append(values.T)
        self.calm.append(calm(values.T))
        below, hidden = self.calm, values.T
        for depth, (weight, bias) in enumerate(self.linear):
            units, known = self.network.unit_degrees[depth], self.hidden[depth]
            rows = slice(bisect_left(units, degree), bisect_right(units, degree))
            if rows.start < rows.stop:
                change = _product(weight, bias, rows, below.rows)
                # Layers of one width have units of the same degrees: what is added is of the same units.
                residual = depth > 0 and len(units) == len(self.network.unit_degrees[depth - 1])
                hidden = hidden + change if residual else change
                known.append(functional.relu(hidden))
            below = known

    def parameters(self, target: int) -> Tensor:
        """Parameters `(batch, size)` of a target all of whose inputs are known."""
        network, degree = self.network, self.network.target_degrees[target]
        if network.constant is not None:
            return network.constant[target].expand(self.batch, -1)
        seen, units = bisect_left(self.degrees, degree), bisect_left(network.unit_degrees[-1], degree)
        if len(self.inputs.rows) < seen:
            raise ValueError(f"target {target} sees {seen} inputs; only {len(self.inputs.rows)} are known")
        rows = slice(target * network.size, (target + 1) * network.size)
        output = network.output
        values = _product(output.weight, output.bias, rows, self.hidden[-1].rows[:units])
        direct = _product(self.direct, None, slice(target, target + 1), self.inputs.rows[:seen])
        values[:1] += direct
        # Transformers read a record's parameters side by side.
        return values.T.contiguous()


class _Known:
    """Rows that become known by and by, `(so far, batch)`."""

    def __init__(self, rows: int, like: Tensor) -> None:
        # Written in place, the rows are moved once. Autograd keeps the tensors it is shown and needs them unchanged.
        self.space = None if torch.is_grad_enabled() else like.new_empty(rows, like.shape[0])
        self.rows = like.new_empty(0, like.shape[0])

    def append(self, rows: Tensor) -> None:
        if self.space is None:
            self.rows = torch.cat((self.rows, rows))
            return
        known = len(self.rows)
        self.space[known : known + len(rows)] = rows
        self.rows = self.space[: known + len(rows)]


def _product(weight: Tensor, bias: Tensor | None, rows: slice, known: Tensor) -> Tensor:
    """Some outputs of a linear layer, its first inputs being all there are: `(inputs, batch)` -> `(rows, batch)`."""
    weight = weight[rows, : len(known)]
    return weight @ known if bias is None else torch.addmm(bias[rows, None], weight, known)


def with_context(x: Tensor, context: Tensor | None, width: int) -> Tensor:
    """Squashed x and context side by side, a network's input.

    Errors: ValueError when the context is not `(batch, width)`.
    """
    found = (x.shape[0], 0) if context is None else tuple(context.shape)
    if found != (x.shape[0], width):
        raise ValueError(f"context has shape {found}; expected {(x.shape[0], width)}")
    return squash(x) if context is None or width == 0 else torch.cat((squash(x), context), -1)
