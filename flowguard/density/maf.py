"""The masked autoregressive flow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Literal, get_args

from flowguard.density.autoregressive import Autoregressive
from flowguard.density.bijection import Chain
from flowguard.density.flow import Flow
from flowguard.density.seeding import permutations, seeded
from flowguard.density.transformers import TransformerName, transformer_named

MafOrder = Literal["single", "alternate", "random"]


def maf(
    features: int,
    *,
    context: int = 0,
    hidden: Sequence[int] = (64, 64),
    layers: int = 3,
    transformer: TransformerName = "spline",
    order: MafOrder = "single",
    columns: Sequence[int] | None = None,
    bins: int = 8,
    components: int = 8,
    dropout: float = 0.0,
    seed: int = 0,
) -> Flow:
    """A stack of masked autoregressive layers (Papamakarios et al. 2017; Durkan et al. 2019 with splines).

    `order`: `single` keeps the columns in one order in every layer, so that `Flow.terms` are exact; `alternate`
    reverses them every other layer; `random` draws an order per layer from `seed`. `columns` lists them first to
    last, as given by default and never with `random`. `bins` are of the spline alone, `components` of the mixture;
    `dropout` is of the networks, in training.

    Errors: ValueError for an unknown order or transformer, or sizes below 1.

    Example:
        >>> flow = maf(3, context=5)
        >>> flow.triangular, maf(3, order="alternate").triangular
        (True, False)
    """
    if layers < 1:
        raise ValueError(f"maf needs at least one layer, not {layers}")
    if order == "random" and columns is not None:
        raise ValueError("columns of a random order are drawn, not given")
    ahead = tuple(range(features)) if columns is None else tuple(columns)
    if order == "single":
        orders = [ahead] * layers
    elif order == "alternate":
        orders = [ahead if layer % 2 == 0 else ahead[::-1] for layer in range(layers)]
    elif order == "random":
        orders = list(islice(permutations(features, seed=seed), layers))
    else:
        raise ValueError(f"unknown order {order!r}; known: {', '.join(get_args(MafOrder))}")
    with seeded(seed):
        stack = [
            Autoregressive(
                features,
                transformer_named(transformer, bins=bins, components=components, uses=layers, place=place),
                context=context,
                hidden=hidden,
                order=columns,
                dropout=dropout,
            )
            for place, columns in enumerate(orders)
        ]
    return Flow(Chain(stack))
