"""A masked network whose inputs become known one after another: what draws samples."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

from flowguard.density.squash import calm

if TYPE_CHECKING:
    from flowguard.density.masked import MaskedLinear, MaskedNetwork


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
        >>> from flowguard.density.masked import MaskedNetwork
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
            layers = [cast("MaskedLinear", layer) for layer in network.layers]
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
        return values.T


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
