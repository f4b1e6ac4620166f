"""A flow: a bijection to standard normal noise."""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor, nn

from flowguard.density.bijection import Bijection, hold
from flowguard.density.pieces import pieces

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def log_normal(z: Tensor) -> Tensor:
    """The standard normal's log density of each z."""
    return -0.5 * z * z - _HALF_LOG_TWO_PI


class Flow(nn.Module):
    """The exact density p(x | context) = N(z; 0, 1) |det dz/dx| of a bijection x -> z.

    x is `(batch, features)`, context `(batch, context_features)` (None when that is 0), `observed` bool
    `(batch, features)`: then the density is that of the observed coordinates, and the caller puts the mask
    into the context when it should be p(x_observed | mask, context). Natural logarithms. A record's result
    does not depend on the others in its batch.

    Errors: ValueError on wrong shapes; TypeError where one column order is needed and the bijection has none.

    Example:
        >>> import torch
        >>> from flowguard.density import maf
        >>> flow = maf(2, context=1, seed=7)
        >>> x, context = torch.zeros(4, 2), torch.ones(4, 1)
        >>> bool(torch.allclose(flow.terms(x, context).sum(-1), flow.log_prob(x, context)))
        True
    """

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    @property
    def features(self) -> int:
        """Columns of x."""
        return self.bijection.features

    @property
    def context_features(self) -> int:
        """Columns of the context."""
        return self.bijection.context_features

    @property
    def triangular(self) -> bool:
        """Whether per-column terms exist."""
        return self.bijection.triangular

    def forward(self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        """The same as `log_prob`."""
        return self.log_prob(x, context, observed=observed)

    def log_prob(self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        """log p(x_observed | context), `(batch,)`."""
        self._check(x, observed)
        return torch.cat([self._log_prob(*piece) for piece in pieces(x, context, observed)])

    def _log_prob(self, x: Tensor, context: Tensor | None, observed: Tensor | None) -> Tensor:
        if self.triangular:  # one sum over the columns, not one in each layer
            return self._terms(x, context, observed).sum(-1)
        z, log_det = self.bijection(x, context, observed=observed)
        return hold(log_normal(z), observed).contiguous().sum(-1) + log_det

    def terms(self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        """log p(x_i | earlier columns, context), `(batch, features)`, 0 where unobserved."""
        self._check(x, observed)
        return torch.cat([self._terms(*piece) for piece in pieces(x, context, observed)])

    def _terms(self, x: Tensor, context: Tensor | None, observed: Tensor | None) -> Tensor:
        z, log_slope = self.bijection.forward_columns(x, context, observed=observed)
        return (hold(log_normal(z), observed) + log_slope).contiguous()

    def terms_and_ensemble(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`terms`, and zeros `(batch,)`: one column order leaves nothing beside them (see `Ensemble`)."""
        return self.terms(x, context, observed=observed), x.new_zeros(x.shape[0])

    def latent(self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        """The noise z that x maps to, 0 where unobserved."""
        self._check(x, observed)
        return self.bijection(x, context, observed=observed)[0]

    def inverse(self, z: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        """The x that maps to z, 0 where unobserved."""
        self._check(z, observed)
        return self.bijection.inverse(z, context, observed=observed)

    def sample(
        self,
        n: int,
        context: Tensor | None = None,
        *,
        observed: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """n draws, `(n, features)`; row i given row i of the context (which has n rows)."""
        like = next(self.parameters())
        z = torch.randn(n, self.features, dtype=like.dtype, device=like.device, generator=generator)
        with torch.no_grad():
            return self.inverse(z, context, observed=observed)

    def column_quantile(
        self,
        x: Tensor,
        column: int,
        q: float | Tensor,
        context: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> Tensor:
        """The q-quantile (0 < q < 1) of one column given the columns before it as in x, `(batch,)`.

        What x holds in that column and after it does not matter. NaN in rows where the column is unobserved.
        """
        self._check(x, observed)
        level = torch.as_tensor(q, dtype=x.dtype, device=x.device)
        if not bool(((level > 0) & (level < 1)).all()):
            raise ValueError("a quantile's level lies strictly between 0 and 1")
        z = torch.special.ndtri(level).expand(x.shape[0])
        value = self.bijection.invert_column(x, z, column, context, observed=observed)
        return value if observed is None else value.masked_fill(~observed[:, column], math.nan)

    def column_quantiles(
        self, x: Tensor, q: float, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> Tensor:
        """`column_quantile` of every column but for rounding, `(batch, features)`, at about the cost of one."""
        self._check(x, observed)
        z = torch.full_like(x, NormalDist().inv_cdf(q))
        value = self.bijection.invert_columns(x, z, context, observed=observed)
        return value if observed is None else value.masked_fill(~observed, math.nan)

    def _check(self, x: Tensor, observed: Tensor | None) -> None:
        if x.ndim != 2 or x.shape[1] != self.features:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, {self.features})")
        if observed is not None and (observed.shape != x.shape or observed.dtype != torch.bool):
            found = f"{observed.dtype} of shape {tuple(observed.shape)}"
            raise ValueError(f"observed is {found}; expected bool {tuple(x.shape)}")
