"""An ensemble over column orders: a mixture of flows that each keep an order of their own."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from flowguard.density.flow import Flow
from flowguard.density.maf import maf
from flowguard.density.seeding import permutations
from flowguard.density.transformers import TransformerName


class Ensemble(nn.Module):
    """The exact density p(x | context) = mean over K members of p_k(x | context), each with its own column order.

    A mean of densities, not of their logarithms, which would integrate to less than 1. With l_k = log p_k(x) and the
    responsibilities r = softmax(l), log p = sum_k r_k l_k + H(r) - log K (Jensen's bound, which r makes tight; Bishop
    2006, section 9.4). So the members' terms by column, averaged with r, and the rest, H(r) - log K within
    [-log K, 0], sum to log p. Shapes, masks and errors are those of `Flow`.

    Errors: ValueError for no member or members of different shape; TypeError for one without a column order.

    Example:
        >>> import torch
        >>> density = maf_ensemble(3, orders=2, seed=1)
        >>> x = torch.ones(4, 3)
        >>> terms, ensemble = density.terms_and_ensemble(x)
        >>> bool(torch.allclose(terms.sum(-1) + ensemble, density.log_prob(x)))
        True
    """

    triangular = True

    def __init__(self, members: Sequence[Flow]) -> None:
        super().__init__()
        shapes = {(member.features, member.context_features) for member in members}
        if len(shapes) != 1:
            raise ValueError(f"members must share (features, context_features), not {sorted(shapes)}")
        if not all(member.triangular for member in members):
            raise TypeError("a member has no single column order, so no per-column terms")
        self.features, self.context_features = shapes.pop()
        self.members = nn.ModuleList(members)

    @property
    def orders(self) -> list[tuple[int, ...]]:
        """The column order of each member."""
        return [cast("tuple[int, ...]", flow.bijection.order) for flow in self._flows()]

    def forward(self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        """The same as `log_prob`."""
        return self.log_prob(x, context, observed=observed)

    def log_prob(self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        """log p(x_observed | context), `(batch,)`."""
        each = self._terms_of_each(x, context, observed).sum(-1)
        return torch.logsumexp(each, 0) - math.log(len(self.members))

    def terms_and_ensemble(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The members' terms averaged by responsibility `(batch, features)`, and H(r) - log K `(batch,)`.

        They sum to `log_prob`, and so do their gradients: r counts as constant, as the derivative of the bound with
        respect to r is zero where it is tight.
        """
        terms = self._terms_of_each(x, context, observed)
        log_share = torch.log_softmax(terms.sum(-1).detach(), 0)
        share = log_share.exp()
        # Minus the divergence of r from equal shares: rounding alone could lift it above 0.
        rest = -(share * (log_share + math.log(len(self.members)))).sum(0)
        return (share.unsqueeze(-1) * terms).sum(0), rest.clamp(max=0.0)

    def responsibilities(self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        """The probability that each member made the record, `(batch, members)`."""
        return self._terms_of_each(x, context, observed).sum(-1).softmax(0).T

    def latent(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        observed: Tensor | None = None,
        member: int | Tensor = 0,
    ) -> Tensor:
        """The noise z that x maps to in one member, or in one per record (int64 `(batch,)`).

        A mixture has a latent code per member; by default it is that of the first, whose order is the one given.
        """
        latents = [flow.latent(x, context, observed=observed) for flow in self._flows()]
        rows = torch.arange(len(x), device=x.device)
        return torch.stack(latents)[torch.as_tensor(member, device=x.device).expand(len(x)), rows]

    def inverse(
        self,
        z: Tensor,
        context: Tensor | None = None,
        *,
        observed: Tensor | None = None,
        member: int | Tensor = 0,
    ) -> Tensor:
        """The x whose `latent` code z is in that member, 0 where unobserved."""
        x = torch.zeros_like(z)
        chosen = torch.as_tensor(member, device=z.device).expand(len(z))
        for place, flow in enumerate(self._flows()):
            rows = (chosen == place).nonzero().squeeze(-1)
            if len(rows):
                given = None if context is None else context[rows]
                mask = None if observed is None else observed[rows]
                x = x.index_copy(0, rows, flow.inverse(z[rows], given, observed=mask))
        return x

    def sample(
        self,
        n: int,
        context: Tensor | None = None,
        *,
        observed: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """n draws, `(n, features)`, each from a member chosen at random; row i given row i of the context."""
        like = next(self.parameters())
        member = torch.randint(len(self.members), (n,), device=like.device, generator=generator)
        z = torch.randn(n, self.features, dtype=like.dtype, device=like.device, generator=generator)
        with torch.no_grad():
            return self.inverse(z, context, observed=observed, member=member)

    def column_quantile(
        self,
        x: Tensor,
        column: int,
        q: float | Tensor,
        context: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> Tensor:
        """The q-quantile of one column in the member in whose order it comes last, `(batch,)`; NaN where unobserved.

        It is exact given the columns before it in that order, most of the record; the mixture's own conditional would
        have to be integrated.
        """
        flow = self._flows()[self.latest(column)]
        return flow.column_quantile(x, column, q, context, observed=observed)

    def column_quantiles(
        self, x: Tensor, q: float, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> Tensor:
        """`column_quantile` of every column but for rounding, `(batch, features)`."""
        each = torch.stack([flow.column_quantiles(x, q, context, observed=observed) for flow in self._flows()])
        columns = torch.arange(self.features, device=x.device)
        return each[[self.latest(column) for column in range(self.features)], :, columns].T

    def latest(self, column: int) -> int:
        """The member in whose order `column` comes last, the first of them where several agree."""
        places = [order.index(column) for order in self.orders]
        return places.index(max(places))

    def _flows(self) -> list[Flow]:
        return [cast(Flow, member) for member in self.members]

    def _terms_of_each(self, x: Tensor, context: Tensor | None, observed: Tensor | None) -> Tensor:
        return torch.stack([flow.terms(x, context, observed=observed) for flow in self._flows()])


def maf_ensemble(
    features: int,
    *,
    orders: int,
    context: int = 0,
    hidden: Sequence[int] = (64, 64),
    layers: int = 3,
    transformer: TransformerName = "spline",
    bins: int = 8,
    components: int = 8,
    dropout: float = 0.0,
    seed: int = 0,
) -> Ensemble:
    """`orders` masked autoregressive flows of a single column order each; see `maf` for the settings.

    The first keeps the columns as given and is `maf(..., order="single", seed=seed)` itself; the others' orders and
    weights come from `seed`. Orders differ as long as there are enough of them. Source: Uria, Murray, Larochelle 2014
    (A Deep and Tractable Density Estimator), who average over orders of one network.

    Errors: ValueError for fewer than one order, and those of `maf`.

    Example:
        >>> maf_ensemble(3, orders=2).orders
        [(0, 1, 2), (2, 1, 0)]
    """
    source = random.Random(seed)
    return Ensemble(
        [
            maf(
                features,
                context=context,
                hidden=hidden,
                layers=layers,
                transformer=transformer,
                columns=order,
                bins=bins,
                components=components,
                dropout=dropout,
                seed=int(source.random() * 2**31) if place else seed,
            )
            for place, order in enumerate(distinct_orders(features, orders, seed=seed))
        ]
    )


def distinct_orders(features: int, count: int, *, seed: int) -> list[tuple[int, ...]]:
    """`count` orders of the columns: as given, then others from `seed`, repeated only when none is left."""
    if count < 1:
        raise ValueError(f"an ensemble needs at least one order, not {count}")
    found = [tuple(range(features))]
    for order in permutations(features, seed=seed):
        if len(found) == count:
            break
        # Beyond 12 columns there are more orders than anybody asks for.
        if order not in found or (features <= 12 and len(found) >= math.factorial(features)):
            found.append(order)
    return found
