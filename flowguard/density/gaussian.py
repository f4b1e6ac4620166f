"""The linear Gaussian: every column regressed on the context and on the columns before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowguard.density.bijection import Bijection, hold
from flowguard.density.flow import Flow
from flowguard.density.masked import MaskedLinear
from flowguard.density.seeding import seeded
from flowguard.density.transformers.affine import bounded_location, bounded_log_scale


class LinearGaussian(Bijection):
    """z_i = (x_i - m_i(context) - sum_{j<i} a_ij x_j) * exp(s_i): m linear in the context, a and s constant.

    With normal z, x given the context is exactly N((I - A)^-1 m, C C^T) with C = (I - A)^-1 diag(exp(-s)), the Cholesky
    factor of any covariance there is. Source: Pourahmadi 1999 (the modified Cholesky decomposition: regressions on
    the columns before are a covariance without constraints). Triangular, so terms by column are exact.

    Bounds, as of `Affine`: the context moves a column by at most `location` (linear up to half of it), and a residual
    deviation stays within exp(-high) and exp(-low), so that collinear columns leave it finite.

    Missing values: a missing column is held at 0, not integrated out. Where the mask is part of the context it moves
    the means, but a pattern has no coefficients of its own: p(observed | mask) is a normalised Gaussian, not the
    marginal of the Gaussian of complete records.

    Example:
        >>> import torch
        >>> layer = LinearGaussian(3, context=2)
        >>> z, log_det = layer(torch.zeros(5, 3), torch.ones(5, 2))
        >>> z.shape, log_det.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self, features: int, *, context: int = 0, location: float = 200.0, low: float = -2.0, high: float = 7.0
    ) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"a Gaussian needs at least one column, not {features}")
        self.features, self.context_features = features, context
        self.order = tuple(range(features))
        self.location, self.low, self.high = location, low, high
        self.center = nn.Parameter(torch.zeros(features))
        self.raw_scale = nn.Parameter(torch.zeros(features))
        before = torch.ones(features, features).tril(-1)
        self.on_columns = MaskedLinear(before, gain=0.01, bias=False) if features > 1 else None
        self.on_context = MaskedLinear(torch.ones(features, context), gain=0.01, bias=False) if context else None

    def forward_columns(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        x, log_scale = hold(x, observed), self._log_scale()
        mean = self._center(x, context)
        if self.on_columns is not None:
            mean = mean + self.on_columns(x)
        return hold((x - mean) * log_scale.exp(), observed), hold(log_scale.expand_as(x), observed)

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, log_slope = self.forward_columns(x, context, observed=observed)
        return z, log_slope.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        residual = hold(z, observed) * (-self._log_scale()).exp() + self._center(z, context)
        if self.on_columns is None:
            return hold(residual, observed)
        before = self.on_columns.weight.tril(-1)
        if observed is None:
            unit = torch.eye(self.features, dtype=z.dtype, device=z.device)
            return torch.linalg.solve_triangular(unit - before, residual.T, upper=False, unitriangular=True).T
        columns: list[Tensor] = []
        for column in range(self.features):
            known = torch.stack(columns, -1) @ before[column, :column] if columns else 0.0
            columns.append(hold(residual[:, column] + known, observed[:, column]))
        return torch.stack(columns, -1)

    def invert_column(
        self,
        x: Tensor,
        z_column: Tensor,
        column: int,
        context: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> Tensor:
        x = hold(x, observed)
        mean = self._center(x, context)[:, column]
        if self.on_columns is not None:
            mean = mean + self.on_columns(x, slice(column, column + 1)).squeeze(-1)
        value = z_column * (-self._log_scale()[column]).exp() + mean
        return hold(value, None if observed is None else observed[:, column])

    def _log_scale(self) -> Tensor:
        return bounded_log_scale(self.raw_scale, self.low, self.high)

    def _center(self, x: Tensor, context: Tensor | None) -> Tensor:
        found = (x.shape[0], 0) if context is None else tuple(context.shape)
        if found != (x.shape[0], self.context_features):
            raise ValueError(f"context has shape {found}; expected {(x.shape[0], self.context_features)}")
        center = self.center.expand(x.shape[0], -1)
        if self.on_context is not None and context is not None:
            center = center + self.on_context(context)
        return bounded_location(center, self.location)


def gaussian(features: int, *, context: int = 0, seed: int = 0) -> Flow:
    """A Gaussian of full covariance whose mean is linear in the context: the baseline that a flow must beat.

    Example:
        >>> gaussian(3, context=2).triangular
        True
    """
    with seeded(seed):
        return Flow(LinearGaussian(features, context=context))
