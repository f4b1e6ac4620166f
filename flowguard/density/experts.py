"""Several exact densities of the same records, mixed: the flow, kernel densities beside it, and the columns alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from flowguard.density.blurred import Blurred
from flowguard.density.column import Column
from flowguard.density.inputs import Inputs
from flowguard.density.kernel import KernelDensity
from flowguard.density.marginal import Marginal


@dataclass(frozen=True)
class ExpertTerms:
    """What each of E densities says of n records: `log_mass` and `log_density` `(n, E)`, in the coordinates of x.

    `flow_mass` and `flow_density` `(n, d)` are the terms by column of the first, the flow (the latter None where its
    family has none); `alone_mass` and `alone_density` those of the last, the columns by themselves (`Marginal`).
    `blurred` `(n,)` is the log density of the blurred records (`Blurred`), which is none of the E.
    """

    log_mass: Tensor
    log_density: Tensor
    flow_mass: Tensor
    flow_density: Tensor | None
    alone_mass: Tensor
    alone_density: Tensor
    blurred: Tensor


class Experts(nn.Module):
    """p(record) = sum_e w_e p_e(record) over the flow, kernel densities and independent columns; exact like each.

    They err in different places: a flow where records are few, a kernel density where columns are many, and columns by
    themselves wherever dependence matters; so each is also reported by itself (`ExpertTerms`), for scores that ask
    all of them, and beside them the density of the blurred records, which has another measure and is not mixed.
    Weights `(E,)` in that order are found on held-out records (`weigh`).

    With responsibilities r_e proportional to w_e p_e, log p = sum_e r_e (log p_e + log w_e - log r_e): columns' terms
    are averaged with r, and the rest is at most 0 and at least log of the least weight.

    Source: Smyth and Wolpert 1999 (stacked density estimation).
    """

    log_weight: Tensor

    def __init__(self, columns: Sequence[Column], kernels: Sequence[KernelDensity], blurred: Blurred) -> None:
        super().__init__()
        self.kernels, self.blurred = nn.ModuleList(kernels), blurred
        self.marginal = Marginal(columns)
        count = len(kernels) + 2
        self.register_buffer("log_weight", torch.full((count,), -math.log(count)))

    @property
    def scales(self) -> list[str]:
        """On which scale of the numbers each expert measures: `front`, `line`, or `alone` for columns by themselves."""
        return ["front", *(kernel.scale for kernel in self.every_kernel()), "alone"]

    def every_kernel(self) -> list[KernelDensity]:
        """The kernel densities."""
        return [cast(KernelDensity, kernel) for kernel in self.kernels]

    @classmethod
    def from_config(cls, columns: Sequence[Column], config: Sequence[Mapping[str, Any]], **given: Any) -> Experts:
        """Empty experts of `[{"centres": .., "scale": .., "widths": ..}, ..]`, to load weights into."""
        kernels = [KernelDensity.from_config(columns, one, **given) for one in config]
        return cls(columns, kernels, Blurred(columns, centres=kernels[0].centres, **given))

    @property
    def config(self) -> list[dict[str, Any]]:
        """Plain JSON."""
        return [kernel.config for kernel in self.every_kernel()]

    def forward(
        self, inputs: Inputs, flow: tuple[Tensor, Tensor, Tensor, Tensor | None], *, by_column: bool
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor | None], ExpertTerms]:
        """(log_mass, log_density, mass_terms, density_terms) of the mixture, given those of the flow.

        Terms by column are those of the mixture where `by_column`, else zeros and None: kernel densities take as long
        for a column as for all of them.
        """
        found = [kernel(inputs, by_column=by_column) for kernel in self.every_kernel()]
        alone_mass, alone_density = self.marginal(inputs)
        log_mass = torch.stack([flow[0], *(one.log_mass for one in found), alone_mass.sum(-1)], -1)
        log_density = torch.stack([flow[1], *(one.log_density for one in found), alone_density.sum(-1)], -1)
        told = ExpertTerms(log_mass, log_density, flow[2], flow[3], alone_mass, alone_density, self.blurred(inputs))
        log_weight = torch.log_softmax(self.log_weight, -1)  # stored in float32, they sum to 1 only nearly
        mass = torch.logsumexp(log_mass + log_weight, -1)
        weighed = log_mass + log_density + log_weight
        density = torch.logsumexp(weighed, -1) - mass
        if not by_column or flow[3] is None:
            return (mass, density, torch.zeros_like(alone_mass), None), told
        share = torch.softmax(weighed, -1).unsqueeze(-1)
        mass_terms = torch.stack([flow[2], *(one.mass_terms for one in found), alone_mass], 1)
        density_terms = torch.stack([flow[3], *(one.density_terms for one in found), alone_density], 1)
        return (mass, density, (share * mass_terms).sum(1), (share * density_terms).sum(1)), told

    def log_prob(self, inputs: Inputs, flow: Tensor) -> Tensor:
        """log p of the mixture, `(n,)`, given that of the flow; the blurred records are not asked."""
        kernels = [kernel(inputs) for kernel in self.every_kernel()]
        mass, value = self.marginal(inputs)
        each = [flow, *(one.log_mass + one.log_density for one in kernels), (mass + value).sum(-1)]
        return torch.logsumexp(torch.stack(each, -1) + torch.log_softmax(self.log_weight, -1), -1)

    def weigh(self, log_each: Tensor, *, least: float = 0.01, rounds: int = 100) -> None:
        """Set the weights from held-out log-likelihoods `(n, E)` by EM; none falls below `least`."""
        weight = torch.full((log_each.shape[1],), 1 / log_each.shape[1], dtype=torch.float64)
        for _ in range(rounds):
            weight = torch.softmax(log_each.double() + weight.log(), 1).mean(0)
            # What each has above the least is scaled, so that none falls below it once they sum to 1.
            spare = (weight - least).clamp(min=0)
            weight = least + (1 - len(weight) * least) * spare / spare.sum()
        self.log_weight.copy_(weight.log().float())
