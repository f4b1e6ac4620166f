"""RealNVP: a stack of coupling layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Literal, get_args

from flowguard.density.bijection import Bijection, Chain
from flowguard.density.coupling import Coupling
from flowguard.density.flow import Flow
from flowguard.density.mixing import Mixing
from flowguard.density.seeding import permutations, seeded
from flowguard.density.transformers import TransformerName, transformer_named

RealNvpMask = Literal["alternate", "random"]
RealNvpMixing = Literal["none", "lu"]


def realnvp(
    features: int,
    *,
    context: int = 0,
    hidden: Sequence[int] = (64, 64),
    layers: int = 6,
    transformer: TransformerName = "affine",
    mask: RealNvpMask = "alternate",
    mixing: RealNvpMixing = "none",
    bins: int = 8,
    components: int = 8,
    dropout: float = 0.0,
    seed: int = 0,
) -> Flow:
    """A stack of coupling layers whose halves swap (Dinh et al. 2017).

    `mask`: `alternate` transforms the even and the odd columns in turn; `random` draws halves from `seed`,
    and every second layer transforms the complement of the one before, so each column is transformed in every
    pair of layers. Odd counts split unevenly; a single column is transformed by every layer, given the
    context. `bins` are of the spline alone, `components` of the mixture; `dropout` is of the networks, in training.

    `mixing`: `lu` puts an invertible linear map of all columns before each coupling layer (`Mixing`), which no column
    that can be missing may take part in; a single column has nothing to mix.

    Errors: ValueError for an unknown mask, mixing or transformer, for one layer where two are needed, or sizes below
    1.

    Example:
        >>> realnvp(5, context=2).triangular
        False
    """
    halves = _halves(features, layers=layers, mask=mask, seed=seed)
    if mixing not in get_args(RealNvpMixing):
        raise ValueError(f"unknown mixing {mixing!r}; known: {', '.join(get_args(RealNvpMixing))}")
    uses = max(sum(column in half for half in halves) for column in range(features))
    with seeded(seed):
        stack: list[Bijection] = []
        for layer, half in enumerate(halves):
            if mixing == "lu" and features > 1:
                stack.append(Mixing(features, context=context, stretch=1 / layers))
            shape = transformer_named(
                transformer, bins=bins, components=components, uses=uses, place=layer * uses // layers
            )
            stack.append(Coupling(features, shape, transformed=half, context=context, hidden=hidden, dropout=dropout))
    return Flow(Chain(stack))


def _halves(features: int, *, layers: int, mask: str, seed: int) -> list[tuple[int, ...]]:
    """The columns that each layer transforms."""
    if mask not in get_args(RealNvpMask):
        raise ValueError(f"unknown mask {mask!r}; known: {', '.join(get_args(RealNvpMask))}")
    if features == 1:
        halves: list[tuple[int, ...]] = [(0,)] * layers
    else:
        orders = permutations(features, seed=seed)
        halves = []
        for _ in range(0, layers, 2):
            columns = tuple(range(features)) if mask == "alternate" else next(islice(orders, 1))
            halves += [columns[0::2], columns[1::2]]
        halves = halves[:layers]
    if {column for half in halves for column in half} != set(range(features)):
        raise ValueError(f"{layers} coupling layers leave some of {features} columns untouched; two are needed")
    return halves
