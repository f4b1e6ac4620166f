"""A flow's density with one column replaced: what comes before it in the column order is worked out once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from flowguard.density.autoregressive import Autoregressive
from flowguard.density.bijection import Chain, hold
from flowguard.density.flow import Flow, log_normal
from flowguard.density.masked import MaskedNetwork
from flowguard.density.scratch import scratch
from flowguard.density.squash import calm, squash
from flowguard.density.triangular import Block, blocks, multiply

TILE, ROWS = 128, 16
"""Records that are worked out at a time, and those whose products are one call: products of another shape may round
otherwise, and a record's bits shall not depend on those beside it. Elementwise work may take as many as there are."""


class Suffix:
    """A flow of one column order at some records, to replace a column of them by several values each.

    A masked network's units see columns up to their degree alone. So with column i replaced, all before i in the order
    stays as it is: only the later units and columns are computed, on top of what the earlier ones give them, which is
    added up once for all values. On average a half of the elementwise work and a third of the products is left, and
    nothing cancels. Results are those of `Flow.log_prob` but for rounding.

    `x` `(n, d)`, `context` and `observed` as of `Flow`. Only where gradients are not wanted.

    Errors: TypeError for a flow that is not a chain of autoregressive layers in one order.

    Example:
        >>> from flowguard.density import maf
        >>> flow, x = maf(3).eval(), torch.zeros(2, 3)
        >>> with torch.no_grad():
        ...     found = Suffix(flow, x).log_prob(torch.tensor([1]), 2, torch.tensor([[0.5, 9.0]]))
        ...     wanted = flow.log_prob(torch.tensor([[0.0, 0.0, 0.5], [0.0, 0.0, 9.0]]))
        >>> bool(torch.allclose(found[0], wanted))
        True
    """

    def __init__(self, flow: Flow, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> None:
        if not applies(flow):
            raise TypeError("only a chain of autoregressive layers in one order has columns that others do not see")
        self.layers = [cast(Autoregressive, part) for part in cast(Chain, flow.bijection).parts]
        self.order = self.layers[0].order
        missing = None if observed is None or bool(observed.all()) else ~self.layers[0].in_order(observed)
        columns = self.layers[0].in_order(hold(x, observed))
        tiles = [self._worked_out(*tile) for tile in _tiles(columns, context, missing)]
        self.columns, self.missing = columns, missing
        self.known = [_Known.join([known[depth] for known, _ in tiles]) for depth in range(len(self.layers))]
        self.before = torch.cat([before for _, before in tiles], -1)

    def _worked_out(
        self, columns: Tensor, context: Tensor | None, missing: Tensor | None, count: int
    ) -> tuple[list[_Known], Tensor]:
        """What each layer saw of the first `count` records, and the sum of the terms before each column."""
        found, slopes = [], torch.zeros_like(columns)
        for layer in self.layers:
            known = _Known.of(layer, columns, context)
            found.append(known.first(count))
            columns, log_slope = layer.transformer.forward(columns, known.parameters.transpose(1, 2))
            columns, log_slope = _held(columns, missing), _held(log_slope, missing)
            slopes = slopes + log_slope
        terms = _held(log_normal(columns), missing) + slopes
        return found, torch.cat((torch.zeros_like(terms[:1]), terms.cumsum(0)))[:, :count]

    def log_prob(self, rows: Tensor, column: int, values: Tensor) -> Tensor:
        """log p of the records at `rows` `(r,)` with each of `values` `(r, k)` in one column, which they have.

        For the same bits among any records, r is a multiple of `ROWS`.
        """
        place, (r, k) = self.order.index(column), values.shape
        later = len(self.order) - place
        columns = values.new_empty(later, r, k)
        columns[0] = values
        columns[1:] = self.columns[place + 1 :].index_select(1, rows).unsqueeze(-1)
        columns = columns.view(later, r * k)
        missing = None
        if self.missing is not None:
            missing = self.missing[place:].index_select(1, rows).unsqueeze(-1).expand(-1, -1, k).reshape(later, -1)
        total = torch.zeros_like(columns)
        for depth, (layer, known) in enumerate(zip(self.layers, self.known, strict=True)):
            # In the first layer the later columns are still what they were.
            moved = 1 if depth == 0 else later
            parameters = known.later(place, rows, columns[:moved], (r, k))
            columns, log_slope = layer.transformer.forward(columns, parameters.transpose(1, 2))
            columns = _held(columns, missing)
            total = total + _held(log_slope, missing)
        total = total + _held(log_normal(columns), missing)
        # A record's columns side by side: how a sum over rows of memory rounds may depend on the place in them.
        after = total.T.contiguous().sum(-1).view(r, k)
        return self.before[place].index_select(0, rows).unsqueeze(-1) + after


def applies(flow: object) -> bool:
    """Whether a flow is a chain of autoregressive layers in one order."""
    return (
        isinstance(flow, Flow)
        and flow.triangular
        and isinstance(flow.bijection, Chain)
        and all(isinstance(part, Autoregressive) for part in flow.bijection.parts)
    )


def _held(columns: Tensor, missing: Tensor | None) -> Tensor:
    return columns if missing is None else columns.masked_fill(missing, 0.0)


def _tiles(
    columns: Tensor, context: Tensor | None, missing: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None, int]]:
    """Columns `(d, n)`, context and what is missing in tiles of one shape, and how many records of each count."""
    n = columns.shape[1]
    for start in range(0, max(n, 1), TILE):
        rows = torch.arange(start, start + TILE).clamp(max=n - 1)
        here = None if missing is None else missing.index_select(1, rows)
        yield columns.index_select(1, rows), None if context is None else context[rows], here, min(TILE, n - start)


@dataclass(frozen=True)
class _Known:
    """What a layer's network saw and returned at n records, in order of degree.

    `inputs` `(inputs, n)`; `seen` of each layer of the network `(1 + units, n)`, a row of ones first; `parameters`
    `(targets, size, n)`.
    """

    network: MaskedNetwork
    weights: Sequence[Tensor]
    inputs: Tensor
    seen: Sequence[Tensor]
    parameters: Tensor

    @classmethod
    def of(cls, layer: Autoregressive, columns: Tensor, context: Tensor | None) -> _Known:
        inputs, network = layer.seen(columns, context), layer.network
        parameters, seen = network.planes_and_seen(inputs)
        return cls(network, network.weights() if seen else [], inputs, seen, parameters)

    def first(self, count: int) -> _Known:
        """Of the first records."""
        seen = [part[:, :count] for part in self.seen]
        return replace(self, inputs=self.inputs[:, :count], seen=seen, parameters=self.parameters[..., :count])

    @staticmethod
    def join(parts: Sequence[_Known]) -> _Known:
        """Of several groups of records, in order."""
        if len(parts) == 1:
            return parts[0]
        seen = [torch.cat(each, -1) for each in zip(*(part.seen for part in parts), strict=True)]
        inputs, parameters = (
            torch.cat([getattr(part, name) for part in parts], -1) for name in ("inputs", "parameters")
        )
        return replace(parts[0], inputs=inputs, seen=seen, parameters=parameters)

    def later(self, place: int, rows: Tensor, columns: Tensor, lanes: tuple[int, int]) -> Tensor:
        """Parameters `(later, size, r k)` of the replaced column and of those after it.

        `columns` `(moved, r k)` are the new values of the replaced column and of those after it that moved.
        """
        (r, k), size, moved = lanes, self.network.size, len(columns)
        targets = len(self.parameters) - place
        found = scratch("later parameters", columns, targets * size, r, k)
        found[:size] = self.parameters[place].index_select(1, rows).unsqueeze(-1)
        if targets == 1:
            return found.view(1, size, r * k)
        plan = _Plan.of(self.network, place)
        direct, *weights = self.weights
        # Those before the replaced column, and in the first layer those after it, say the same for all of its values.
        sides = slice(0, plan.first), slice(plan.first + moved, len(self.inputs))
        inputs, seen = self.inputs.index_select(1, rows), [part.index_select(1, rows) for part in self.seen]
        new, out = squash(columns), found
        act, hidden = calm(new), new
        for depth, (weight, of, start) in enumerate(zip(weights, plan.products, plan.starts, strict=True)):
            last = depth == len(weights) - 1
            if depth == 0:
                known, beyond = 1 + plan.first, 1 + plan.first + moved
                base = _product(weight[start:, :known], seen[0][:known])
                _add(weight[start:, beyond:], seen[0][beyond:], base, ROWS)
            else:
                known, beyond = 1 + plan.starts[depth - 1], weight.shape[1]
                base = _product(weight[start:, :known], seen[depth][:known])
            if last:
                heads = base.unflatten(0, (-1, size))[:, 0]
                for side in sides:
                    _add(direct[place + 1 :, side], inputs[side], heads, ROWS)
            out = found[size:] if last else scratch(f"later units {depth % 2}", columns, len(base), r, k)
            out.copy_(base.unsqueeze(-1))
            out = out.view(len(base), r * k)
            _add(weight[start:, known:beyond], act, out, ROWS * k, of if depth or moved > 1 else None)
            if last:
                break
            if depth and self.network.plan.residual[depth]:
                out += hidden
            hidden = out
            act = torch.clamp_min(hidden, 0.0, out=scratch(f"later seen {depth % 2}", columns, *hidden.shape))
        heads = out.unflatten(0, (-1, size))[:, 0]
        _add(direct[place + 1 :, plan.first : plan.first + moved], new, heads, ROWS * k)
        return found.view(targets, size, r * k)


def _product(weight: Tensor, seen: Tensor) -> Tensor:
    found = seen.new_zeros(len(weight), seen.shape[1])
    _add(weight, seen, found, ROWS)
    return found


def _add(weight: Tensor, seen: Tensor, out: Tensor, width: int, of: tuple[Block, ...] | None = None) -> None:
    """weight @ seen on top of `out`, so many columns at a time; `of` are the blocks of `weight` that are not all 0."""
    if weight.shape[1] == 1:
        out.addcmul_(weight, seen)
        return
    if not weight.shape[1]:
        return
    for start in range(0, out.shape[1], width):
        here = slice(start, start + width)
        multiply(of or ((slice(0, len(out)), len(seen)),), weight, seen[:, here], out[:, here], add=True)


@dataclass(frozen=True)
class _Plan:
    """Of a network with the column at one place replaced: the `first` input that moves, where the units that see it
    `starts` in every layer (the outputs of later targets last), and the runs of rows of the `products` with these."""

    first: int
    starts: tuple[int, ...]
    products: tuple[tuple[Block, ...], ...]

    @staticmethod
    def of(network: MaskedNetwork, place: int) -> _Plan:
        units = tuple(network.unit_degrees)
        return _plan(tuple(sorted(network.input_degrees)), units, len(network.target_degrees), network.size, place)


@lru_cache(maxsize=4096)
def _plan(inputs: tuple[int, ...], units: tuple[tuple[int, ...], ...], targets: int, size: int, place: int) -> _Plan:
    degree = place + 1
    first = bisect_left(inputs, degree)
    before: Sequence[int] = inputs[first:]
    starts, products = [], []
    for degrees in units:
        start = bisect_left(degrees, degree)
        products.append(blocks([bisect_right(before, one) for one in degrees[start:]]))
        starts.append(start)
        before = degrees[start:]
    starts.append(degree * size)
    products.append(blocks([bisect_left(before, one) for one in range(degree + 1, targets + 1) for _ in range(size)]))
    return _Plan(first, tuple(starts), tuple(products))
