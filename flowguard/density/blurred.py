"""The blurred density: records seen through noise, where atoms, integers and levels are places like any other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from flowguard.density.column import MISSING, VALUE, Column
from flowguard.density.inputs import Inputs
from flowguard.density.kernel import KernelDensity
from flowguard.density.kernel_fit import fit_kernel

OWN = 32
"""Levels of a category with an axis of their own, the most frequent ones; all others share one."""

_LEAST = 1e-6
"""The least deviation that a column is divided by, on its straight scale."""


class Blurred(nn.Module):
    """log p of record + noise, at the record: the density of the table after every column is blurred.

    In an exact density over mixed columns, atoms, integers, levels and the numbers beside them have measures of their
    own, and a value next to an atom is as far from it as any other. Blurred, all of them are places in one space: one
    measure for every record of the same missing values, and what is near is likely. It is an exact density, but of the
    blurred records, so it is never mixed with those of the records themselves; scores may rank by it.

    It is a kernel density (`KernelDensity`) of N training records, whose widths are that of the noise. Numbers and
    integers lie on axes of deviation 1: `middle` and `deviation` `(m + j,)` are those of the centres' values, atoms
    among them. Levels lie as standardised indicators put them: two of them on one axis, more on one each, the rarer the
    farther out (`places_of`). Missing numbers and context are as in `KernelDensity`. In nats, per deviation.

    Example:
        >>> inputs = replace(Inputs.plain(torch.zeros(40, 1)), line=torch.linspace(-1, 1, 40)[:, None])
        >>> inputs.codes[::2], inputs.line[::2] = 2, 0.5  # half of the values at an atom
        >>> blurred = fit_blurred(inputs, [Column("number", (20, 0, 20))], seed=0)
        >>> two = replace(inputs.take(slice(0, 2)), line=torch.tensor([[0.49], [-3.0]])).to(torch.float64)
        >>> near, far = blurred(two)
        >>> bool(near > far)
        True
    """

    middle: Tensor
    deviation: Tensor

    def __init__(
        self, columns: Sequence[Column], *, centres: int, numeric: int = 0, cardinalities: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.valued = [i for i, column in enumerate(columns) if column.kind != "category"]
        self.coded = [i for i, column in enumerate(columns) if column.kind == "category"]
        # `Inputs.line` has the numbers first, and then the integers.
        apart = [i for kind in ("number", "integer") for i, column in enumerate(columns) if column.kind == kind]
        self.order = [apart.index(i) for i in self.valued]
        self.register_buffer("middle", torch.zeros(len(self.valued)))
        self.register_buffer("deviation", torch.ones(len(self.valued)))
        axes = 0
        for f, i in enumerate(self.coded):
            self.register_buffer(f"places{f}", places_of(columns[i]), persistent=False)
            axes += self._places(f).shape[1]
        plain = [_plain(columns[i]) for i in self.valued] + [Column("number", (centres, 0))] * axes
        self.kernel = KernelDensity(
            plain, centres=centres, numeric=numeric, cardinalities=cardinalities, scale="front", widths=2
        )

    def forward(self, inputs: Inputs) -> Tensor:
        """log density of each record, `(n,)`. Errors: ValueError for records without `line`."""
        return self.kernel.log_prob(self.seen(inputs))

    def seen(self, inputs: Inputs) -> Inputs:
        """The records as places: a coordinate for each number and integer, at an atom or not, and those of levels."""
        if inputs.line is None:
            raise ValueError("records without `line` have no values on a straight scale")
        gone = inputs.codes[:, self.valued] == MISSING
        values = (inputs.line[:, self.order] - self.middle) / self.deviation
        levels = [self._places(f)[inputs.codes[:, i]] for f, i in enumerate(self.coded)]
        x = torch.cat((values.masked_fill(gone, 0.0), *levels), -1)
        codes = torch.full(x.shape, VALUE, dtype=torch.long, device=x.device)
        codes[:, : gone.shape[1]] = torch.where(gone, MISSING, VALUE)
        none = x[:, :0]
        return Inputs(x, codes, none, none, inputs.context, inputs.levels)

    def _places(self, f: int) -> Tensor:
        return self.get_buffer(f"places{f}")


def fit_blurred(inputs: Inputs, columns: Sequence[Column], *, seed: int, cardinalities: Sequence[int] = ()) -> Blurred:
    """The blurred density with the records of `inputs` as centres, its widths chosen as `fit_kernel` chooses them."""
    inputs = inputs.to(torch.float64)
    blurred = Blurred(columns, centres=len(inputs), numeric=inputs.context.shape[1], cardinalities=cardinalities)
    blurred = blurred.double().eval()
    there, m = blurred.seen(inputs), len(blurred.valued)
    has = (there.codes[:, :m] == VALUE).double()
    count, values = has.sum(0).clamp(min=1), there.x[:, :m]
    middle = values.sum(0) / count
    deviation = (((values - middle).square() * has).sum(0) / count).sqrt()
    # What is stored has float32's digits. A column that never varies keeps the deviations of its own scale.
    blurred.middle.copy_(middle.float())
    blurred.deviation.copy_(torch.where(deviation > _LEAST, deviation, 1.0).float())
    blurred.kernel = fit_kernel(
        blurred.seen(inputs), blurred.kernel.columns, scale="front", seed=seed, cardinalities=cardinalities
    )
    return blurred


def places_of(column: Column) -> Tensor:
    """Where each code of a category lies, float64 `(codes, axes)`.

    Standardised indicators put two levels a distance of (1 / v_a + 1 / v_b)^1/2 apart, with v = p (1 - p) of each; here
    it is divided by 2^1/2, so that two levels count as the one column of 0 and 1 that they are. Levels beyond `OWN`,
    missing ones where few are, and such as never occurred share one place.

    >>> places_of(Column("category", (0, 0, 50, 50)))[2:].tolist()
    [[0.0], [2.0]]
    """
    counts = column.counts
    often = sorted((code for code in column.live), key=lambda code: (-counts[code], code))[:OWN]
    rest = column.rows - sum(counts[code] for code in often)

    def reach(count: int) -> float:
        share = (count + 0.5) / (column.rows + 1)
        return 1 / math.sqrt(share * (1 - share))

    if len(often) <= 2 and not rest:
        # On one axis: the first at 0, the second one way, what never occurred the other.
        found = torch.full((len(counts), 1), -reach(0), dtype=torch.float64)
        for code, place in zip(often, (0.0, reach(counts[often[-1]])), strict=False):
            found[code] = place
        return found
    found = torch.zeros(len(counts), len(often) + 1, dtype=torch.float64)
    found[:, -1] = reach(rest) / math.sqrt(2)
    for axis, code in enumerate(often):
        found[code] = 0.0
        found[code, axis] = reach(counts[code]) / math.sqrt(2)
    return found


def _plain(column: Column) -> Column:
    """A number or integer whose every value is a place on its axis."""
    return replace(column, kind="number", counts=(column.rows - column.counts[MISSING], column.counts[MISSING]))
