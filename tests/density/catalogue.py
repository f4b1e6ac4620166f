"""One catalogue: every law of `test_laws.py` is tested on every member, those on bijections on every flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch

from flowguard.density import Autoregressive, Chain, Coupling, Flow, gaussian, maf, maf_ensemble, realnvp
from flowguard.density.transformers import Affine, Spline, transformer_named

SMALL = {"hidden": (12, 12), "bins": 5, "components": 5}


@dataclass(frozen=True)
class Member:
    """A density to test: how it is made, and what it takes."""

    name: str
    make: Callable[..., Any]
    features: int
    context: int

    def new(self) -> Any:
        """As a user gets it: float32, nearly the identity."""
        return self.make(self.features, context=self.context)

    def trained(self, *, scale: float = 0.15, seed: int = 1) -> Any:
        """In float64, every parameter moved at random, as if trained: the identity proves little."""
        flow = self.new().double().eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in flow.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(scale * noise)
        return flow

    def inputs(self, n: int, *, seed: int = 2, spread: float = 2.0) -> tuple[torch.Tensor, torch.Tensor | None]:
        """x and context (None without) in float64."""
        generator = torch.Generator().manual_seed(seed)
        x = spread * torch.randn(n, self.features, generator=generator, dtype=torch.float64)
        if not self.context:
            return x, None
        return x, torch.randn(n, self.context, generator=generator, dtype=torch.float64)


def _permuted(features: int, *, context: int) -> Flow:
    """Two layers in one order that is not 0, 1, ..: triangular all the same."""
    order = (*range(1, features), 0)
    shapes = [transformer_named("spline", bins=5, uses=2, place=place) for place in range(2)]
    return Flow(Chain([Autoregressive(features, s, context=context, hidden=(12,), order=order) for s in shapes]))


def _mixed(features: int, *, context: int) -> Flow:
    """Unlike layers in one chain; the coupling layer transforms every column, given the context alone."""
    return Flow(
        Chain(
            [
                Coupling(features, Affine(), transformed=range(features), context=context, hidden=(12,)),
                Autoregressive(features, Spline(5), context=context, hidden=(7, 12)),
            ]
        )
    )


def _members() -> list[Member]:
    members = []
    widths = [(1, 0), (1, 2), (2, 0), (2, 2), (3, 2), (5, 0), (5, 2)]
    made_of = [*product(("affine", "spline"), widths), *product(("mixture",), [(1, 2), (2, 0), (2, 2), (3, 2), (5, 0)])]
    for transformer, (features, context) in made_of:
        common = {"transformer": transformer, **SMALL}
        made = {
            f"maf-{order}": partial(maf, layers=2, order=order, seed=3, **common)
            for order in ("single", "alternate", "random")
        } | {
            f"realnvp-{mask}": partial(realnvp, layers=3, mask=mask, seed=3, **common)
            for mask in ("alternate", "random")
        }
        every = context == 2 and features in (2, 3) and transformer != "mixture"
        kinds = [kind for kind in made if every or kind.endswith(("single", "alternate"))]
        members += [
            Member(f"{kind}-{transformer}-{features}-context{context}", made[kind], features, context) for kind in kinds
        ]
    members += [Member(f"permuted-3-context{c}", _permuted, 3, c) for c in (0, 2)]
    members += [Member(f"mixed-{d}-context2", _mixed, d, 2) for d in (1, 3)]
    turned = partial(realnvp, layers=3, mixing="lu", transformer="spline", seed=3, **SMALL)
    members += [Member(f"realnvp-lu-spline-{d}-context{c}", turned, d, c) for d, c in ((1, 0), (2, 2), (5, 2))]
    members += [
        Member(f"gaussian-{d}-context{c}", partial(gaussian, seed=3), d, c) for d, c in ((1, 2), (2, 2), (5, 0))
    ]
    return members


def _ensembles() -> list[Member]:
    made = partial(maf_ensemble, orders=3, layers=1, seed=3, **SMALL)
    widths = [(1, 2), (2, 0), (2, 2), (3, 2)]
    return [Member(f"ensemble-{features}-context{context}", made, features, context) for features, context in widths]


MEMBERS = _members()
TRIANGULAR = [member for member in MEMBERS if member.new().triangular]
ENSEMBLES = _ensembles()
DENSITIES = MEMBERS + ENSEMBLES


def of_width(*features: int) -> list[Member]:
    """The densities with so many features."""
    return [member for member in DENSITIES if member.features in features]
