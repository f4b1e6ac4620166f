"""The density of records with one number replaced by several values, without working out anew what stays."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import cast

import torch
from torch import Tensor

from flowguard.density.ensemble import Ensemble
from flowguard.density.flow import Flow, log_normal
from flowguard.density.inputs import Inputs
from flowguard.density.kernel_replacing import KernelReplacing
from flowguard.density.record import RecordDensity
from flowguard.density.suffix import ROWS, TILE, Suffix, applies

MOST = 128
"""Records whose values are tried at once, at most: what is known of so many lies in a core's cache."""

Asked = Callable[[Tensor, int, Tensor], Tensor]
"""(records `(r,)`, column, values `(r, k)`) -> log density `(r, k)`."""


class Replacing:
    """log p of records with other values in one number, all else and the context as they are.

    A value in place of another changes neither the discrete part nor what the flow is conditioned on. These are worked
    out once for each record, and of a flow with a column order only what comes after the replaced column is computed
    again (`Suffix`); other flows are asked as a whole. Results are those of `RecordDensity.flow_log_prob`, but for
    rounding. Every call of the density sees as many records, filled up if need be: the bits of a record are its own.

    Records in float64 on the CPU, without gradients.

    Example:
        >>> config = {"columns": [{"kind": "number", "counts": [90, 0]}] * 3, "numeric": 0, "cardinalities": []}
        >>> density, inputs = RecordDensity.build(config).double().eval(), Inputs.plain(torch.zeros(5, 3).double())
        >>> with torch.inference_mode():
        ...     found = Replacing(density, inputs).log_prob(torch.tensor([4]), 2, torch.tensor([[0.0, 9.0]]).double())
        >>> bool(found[0, 0] > found[0, 1] + 10)
        True
    """

    def __init__(self, density: RecordDensity, inputs: Inputs) -> None:
        if density.flow is None:
            raise TypeError("a density without numbers has none to replace")
        every = torch.arange(len(inputs) + -len(inputs) % TILE).clamp(max=len(inputs) - 1)
        parts = [density.beside(inputs.take(rows)) for rows in every.split(TILE)]
        log_mass, given, observed = (torch.cat(each)[: len(inputs)] for each in zip(*parts, strict=True))
        self.density, self.inputs = density, inputs
        self.log_mass, self.place = log_mass, {column: place for place, column in enumerate(density.numbers.tolist())}
        flow = density.flow
        members = [flow] if not isinstance(flow, Ensemble) else [cast(Flow, member) for member in flow.members]
        self.flows: list[Asked] = [
            Suffix(one, inputs.x, given, observed=observed).log_prob
            if applies(one)
            else partial(_as_a_whole, one, inputs.x, given, observed)
            for one in members
        ]

    def log_prob(
        self,
        rows: Tensor,
        column: int,
        values: Tensor,
        *,
        line: Tensor | None = None,
        log_stretch: Tensor | None = None,
        experts: bool = False,
    ) -> Tensor:
        """`(r, k)` for the records at `rows` `(r,)`, which have a value in that feature, with `values` there.

        `values` `(r, k)` are on the axis of the front; with `experts`, results are those of `RecordDensity.log_prob`,
        and `line` and `log_stretch` `(r, k)` the same values as in `Inputs`.
        """
        place, r = self.place[column], len(values)
        found = []
        for part in torch.arange(r + -r % ROWS).clamp(max=r - 1).split(MOST):
            each = [ask(rows[part], place, values[part]) for ask in self.flows]
            mixed = each[0] if len(each) == 1 else torch.logsumexp(torch.stack(each), 0) - math.log(len(each))
            total = self.log_mass[rows[part]].unsqueeze(-1) + mixed
            if experts:
                on_line = None if line is None or log_stretch is None else (line[part], log_stretch[part])
                total = self._mixed(total, rows[part], place, values[part], on_line)
            found.append(total)
        return torch.cat(found)[:r]

    def _mixed(
        self, flow: Tensor, rows: Tensor, place: int, values: Tensor, on_line: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """The mixture with the experts, as `Experts.log_prob`."""
        each, experts = [flow], self.density.experts
        assert experts is not None
        for kernel in self._kernels:
            if kernel.kernel.scale == "front":
                each.append(kernel.log_prob(rows, place, values, torch.zeros_like(values)))
            else:
                assert on_line is not None, "a kernel density on the straight scale needs values there"
                each.append(kernel.log_prob(rows, place, *on_line))
        mass, terms = (part[rows] for part in self._alone)
        terms[:, experts.marginal.numbers[place]] = 0.0
        each.append((mass + terms).sum(-1, keepdim=True) + log_normal(values))
        weight = torch.log_softmax(experts.log_weight, -1)[:, None, None]
        return torch.logsumexp(torch.stack(each) + weight, 0)

    @cached_property
    def _kernels(self) -> list[KernelReplacing]:
        assert self.density.experts is not None
        return [KernelReplacing(kernel, self.inputs) for kernel in self.density.experts.every_kernel()]

    @cached_property
    def _alone(self) -> tuple[Tensor, Tensor]:
        assert self.density.experts is not None
        return self.density.experts.marginal(self.inputs)


def _as_a_whole(
    flow: Flow, x: Tensor, given: Tensor, observed: Tensor, rows: Tensor, column: int, values: Tensor
) -> Tensor:
    found = []
    for some, new in zip(rows.split(ROWS), values.split(ROWS), strict=True):
        many = some.repeat_interleave(values.shape[1])
        moved = x[many]
        moved[:, column] = new.flatten()
        found.append(flow.log_prob(moved, given[many], observed=observed[many]))
    return torch.cat(found).view(values.shape)
