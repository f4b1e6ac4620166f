"""A masked network's products without its zeros: in order of degree, its matrices are block-triangular."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from flowguard.density.scratch import scratch

Block = tuple[slice, int]

LEAST_ROWS = 32
MOST_BLOCKS = 8


def blocks(seen: Sequence[int]) -> tuple[Block, ...]:
    """Rows in runs, and how many first columns any row of a run sees; `seen` says it of each row and never falls.

    Narrow runs leave out more zeros, but the columns are read once for each run: 32 rows at least, 8 runs at most.

    Example:
        >>> blocks([1] * 32 + [5] * 32)
        ((slice(0, 32, None), 1), (slice(32, 64, None), 5))
    """
    count = max(1, min(MOST_BLOCKS, len(seen) // LEAST_ROWS)) if seen else 0
    found: list[Block] = []
    for place in range(count):
        first, last = place * len(seen) // count, (place + 1) * len(seen) // count
        columns = seen[last - 1]
        if found and found[-1][1] == columns:
            first = found.pop()[0].start
        found.append((slice(first, last), columns))
    return tuple(found)


@dataclass(frozen=True)
class Plan:
    """Which blocks each layer of a network has, and which hidden layers add to the one before.

    Every layer sees, before what it computes from, one column that is 1: its biases are a column of its weights.
    """

    layers: tuple[tuple[Block, ...], ...]
    residual: tuple[bool, ...]
    size: int

    @classmethod
    def of(cls, inputs: Sequence[int], units: Sequence[Sequence[int]], targets: Sequence[int], *, size: int) -> Plan:
        """The plan of the degrees, each list in ascending order; a unit sees up to its degree, a target below it."""
        layers, before = [], inputs
        for degrees in units:
            layers.append(blocks([1 + bisect_right(before, degree) for degree in degrees]))
            before = degrees
        layers.append(blocks([1 + bisect_left(before, degree) for degree in targets for _ in range(size)]))
        residual = tuple(place > 0 and len(of) == len(units[place - 1]) for place, of in enumerate(units))
        return cls(tuple(layers), residual, size)


def parameters_of(
    plan: Plan, inputs: Tensor, calm: Tensor, direct: Tensor, weights: Sequence[Tensor], *, dropout: float = 0.0
) -> Tensor:
    """The network's parameters `(targets, size, batch)` from inputs `(inputs, batch)`, all in order of degree.

    `calm` is what the hidden units see of the inputs. `weights` has a matrix for each hidden layer and one for the
    output, `(outputs, 1 + inputs)`, the biases first and 0 where a mask hides; `direct` is that of the direct path.
    Activations lie `(units, batch)`: what a run of rows may see is one block of memory. Without gradients the result is
    scratch memory that the next call writes over.

    Example:
        >>> plan = Plan.of([1, 2], [[1, 1]], [1, 2], size=1)
        >>> weights = [torch.ones(2, 3).tril(1), torch.tensor([[0.5, 0, 0], [0.5, 1, 1]])]
        >>> x = torch.tensor([[1.0], [9.0]])
        >>> parameters_of(plan, x, x, torch.zeros(2, 2), weights).flatten().tolist()
        [0.5, 4.5]
    """
    if torch.is_grad_enabled():
        return _Pass.apply(plan, dropout, inputs, calm, direct, *weights)
    return run(plan, dropout, inputs, calm, direct, weights)


def run(
    plan: Plan,
    dropout: float,
    inputs: Tensor,
    calm: Tensor,
    direct: Tensor,
    weights: Sequence[Tensor],
    kept: list[Tensor] | None = None,
) -> Tensor:
    """The pass itself, as `parameters_of` and without gradients.

    `kept` receives what each layer saw; without it, what is returned holds until the next pass.
    """
    batch = inputs.shape[1]
    seen = _with_one(inputs, len(inputs), kept=kept is not None)
    seen[1:] = calm
    hidden = inputs
    for place, residual in enumerate(plan.residual):
        weight = weights[place]
        if kept is not None:
            kept.append(seen)
        if not residual:
            hidden = scratch("hidden", inputs, len(weight), batch)
        multiply(plan.layers[place], weight, seen, hidden, add=residual)
        if kept is not None or len(seen) != 1 + len(hidden):
            seen = _with_one(inputs, len(hidden), kept=kept is not None)
        torch.clamp_min(hidden, 0.0, out=seen[1:])
        if dropout:
            functional.dropout(seen[1:], dropout, training=True, inplace=True)
    if kept is not None:
        kept.append(seen)
    shape = len(weights[-1]), batch
    found = scratch("parameters", inputs, *shape) if kept is None else inputs.new_empty(shape)
    multiply(plan.layers[-1], weights[-1], seen, found)
    found = found.unflatten(0, (-1, plan.size))
    found[:, 0] += direct @ inputs
    return found


class _Pass(Function):
    """The pass and its derivative, which keeps nothing but the activations."""

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, dropout: float, inputs: Tensor, calm: Tensor, direct: Tensor, *weights: Tensor
    ) -> Tensor:
        kept: list[Tensor] = []
        found = run(plan, dropout, inputs, calm, direct, weights, kept)
        ctx.save_for_backward(inputs, direct, *weights, *kept)
        ctx.plan, ctx.dropout = plan, dropout
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan, saved = ctx.plan, ctx.saved_tensors
        inputs, direct = saved[:2]
        layers = len(plan.layers)
        weights, kept = saved[2 : 2 + layers], saved[2 + layers :]
        grad = grads[0].contiguous()
        first = grad[:, 0]
        by_inputs = direct.T @ first if ctx.needs_input_grad[2] else None
        by_direct = first @ inputs.T
        by_weights: list[Tensor] = []
        hidden = grad.flatten(0, 1)
        for place in range(layers - 1, -1, -1):
            # Zeros included: here the sums run over the batch, and blocks would be slower than the whole.
            by_weights.append(hidden @ kept[place].T)
            if place == 0:
                break
            by_seen = _by_columns(plan.layers[place], weights[place], hidden, name=f"by seen {place % 2}")[1:]
            # What dropout took is 0 as well, and what it left was made larger.
            torch.ops.aten.threshold_backward.grad_input(by_seen, kept[place][1:], 0.0, grad_input=by_seen)
            if ctx.dropout:
                by_seen *= 1 / (1 - ctx.dropout)
            if place < layers - 1 and plan.residual[place]:
                by_seen += hidden
            hidden = by_seen
        by_calm = None
        if ctx.needs_input_grad[3]:
            by_calm = _by_columns(plan.layers[0], weights[0], hidden)[1:]
        return (None, None, by_inputs, by_calm, by_direct, *reversed(by_weights))


def _with_one(like: Tensor, rows: int, *, kept: bool) -> Tensor:
    """Room for so many rows below a row of ones."""
    shape = 1 + rows, like.shape[1]
    room = like.new_empty(shape) if kept else scratch("seen", like, *shape)
    room[0] = 1.0
    return room


def multiply(of: tuple[Block, ...], weight: Tensor, seen: Tensor, out: Tensor, *, add: bool = False) -> None:
    """weight @ seen, into `out` or on top of it; `of` are the blocks of `weight` that are not all 0."""
    for rows, columns in _on(of, weight):
        if add:
            out[rows].addmm_(weight[rows, :columns], seen[:columns])
        else:
            torch.mm(weight[rows, :columns], seen[:columns], out=out[rows])


def _by_columns(of: tuple[Block, ...], weight: Tensor, grad: Tensor, name: str | None = None) -> Tensor:
    """weight.T @ grad, in scratch memory if that is named."""
    runs = _on(of, weight)
    shape = weight.shape[1], grad.shape[1]
    found = grad.new_empty(shape) if name is None else scratch(name, grad, *shape)
    # The last run sees the most; columns beyond it are seen by none.
    rows, reach = runs[-1]
    torch.mm(weight[rows, :reach].T, grad[rows], out=found[:reach])
    found[reach:] = 0.0
    for rows, columns in runs[:-1]:
        found[:columns].addmm_(weight[rows, :columns].T, grad[rows])
    return found


def _on(of: tuple[Block, ...], weight: Tensor) -> tuple[Block, ...]:
    """The blocks themselves on a CPU; elsewhere one, as starting a product costs more than its zeros."""
    return of if weight.device.type == "cpu" else ((slice(0, of[-1][0].stop), of[-1][1]),)
