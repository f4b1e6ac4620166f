"""Invertible linear mixing of the columns, by its triangular factors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flowguard.density.bijection import Bijection, hold
from flowguard.density.masked import aligned_linear
from flowguard.density.transformers.affine import bounded_log_scale


class Mixing(Bijection):
    """z = L U x, with L unit lower and U upper triangular: log|det| is the sum of U's log diagonal.

    Sources: Oliva et al. 2018 (Transformation Autoregressive Networks) for the factors, Kingma and Dhariwal 2018 (Glow)
    for mixing between coupling layers. A new one is the identity. Entries stay within 1 and the log diagonal within
    `stretch`, so that no weights make it singular.

    Missing values: both factors hold a missing column at 0, and what is left of a triangular matrix is triangular, so
    the map is a bijection of the observed columns and its determinant exact. But the columns that are there then lack
    the missing one's part, which no other map had learned to expect: mix only what is never missing in training.

    Errors: ValueError for fewer than two columns.

    Example:
        >>> import torch
        >>> z, log_det = Mixing(3)(torch.ones(5, 3))
        >>> bool((z == 1).all()), log_det.shape
        (True, torch.Size([5]))
    """

    def __init__(self, features: int, *, context: int = 0, stretch: float = 1.0) -> None:
        super().__init__()
        if features < 2:
            raise ValueError(f"mixing needs at least two columns, not {features}")
        self.features, self.context_features, self.stretch = features, context, stretch
        # Both factors in one matrix, as LAPACK packs them: L below the diagonal, U above it.
        self.entries = nn.Parameter(torch.zeros(features, features))

    def factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """L, U and U's log diagonal."""
        entries = torch.tanh(self.entries)
        log_diagonal = bounded_log_scale(self.entries.diagonal(), -self.stretch, self.stretch)
        lower = entries.tril(-1) + torch.eye(self.features, dtype=entries.dtype, device=entries.device)
        return lower, entries.triu(1) + torch.diag(log_diagonal.exp()), log_diagonal

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        lower, upper, log_diagonal = self.factors()
        middle = hold(aligned_linear(hold(x, observed), upper, aligned=not self.training), observed)
        z = hold(aligned_linear(middle, lower, aligned=not self.training), observed)
        return z, hold(log_diagonal.expand_as(z), observed).sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        lower, upper, _ = self.factors()
        if observed is None:
            middle = torch.linalg.solve_triangular(lower, z.T, upper=False, unitriangular=True)
            return torch.linalg.solve_triangular(upper, middle, upper=True).T
        z = hold(z, observed)
        columns = list(z.unbind(-1))
        for i in range(1, self.features):
            known = torch.stack(columns[:i], -1) @ lower[i, :i]
            columns[i] = hold(columns[i] - known, observed[:, i])
        columns[-1] = columns[-1] / upper[-1, -1]
        for i in reversed(range(self.features - 1)):
            known = torch.stack(columns[i + 1 :], -1) @ upper[i, i + 1 :]
            columns[i] = hold((columns[i] - known) / upper[i, i], observed[:, i])
        return torch.stack(columns, -1)
