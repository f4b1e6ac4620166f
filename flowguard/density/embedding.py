"""The context embedding: numbers and category codes to one vector that conditions the densities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowguard.density.masked import MaskedLinear, squash


class ContextEmbedding(nn.Module):
    """`numeric` standardised numbers and one code per category column to `(n, out_features)`.

    `cardinalities` counts the codes of each column, the reserved ones included: 0 = unseen in training, 1 =
    missing, 2.. = known levels. A level's vector is that of "unseen" plus its own, and in training a code is
    replaced by 0 with probability `dropout`: so "unseen" means an average level, and "missing" means the same
    if it never occurred. `out_features` is `width`, or 0 when there is no context at all.
    Columns listed in `steady` are left as they are, for code 0 says something else there.
    `linear` leaves the nonlinear block out: then the vector is linear in the numbers, up to 30 deviations, and additive
    in the levels.

    Errors: ValueError on wrong shapes; IndexError for a code outside its column's range.

    Example:
        >>> import torch
        >>> embed = ContextEmbedding(2, [5, 12])
        >>> embed(torch.zeros(3, 2), torch.tensor([[0, 1], [4, 11], [2, 2]])).shape
        torch.Size([3, 64])
    """

    starts: Tensor
    unseen: Tensor
    known: Tensor
    rates: Tensor

    def __init__(
        self,
        numeric: int,
        cardinalities: Sequence[int],
        *,
        dropout: float = 0.02,
        width: int = 64,
        linear: bool = False,
        steady: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if any(count < 2 for count in cardinalities):
            raise ValueError(f"each category has at least the codes unseen and missing, not {list(cardinalities)}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout lies in [0, 1), not {dropout}")
        self.numeric, self.cardinalities, self.dropout = numeric, tuple(cardinalities), dropout
        self.out_features = width if numeric or cardinalities else 0
        if not self.out_features:
            return
        sizes = torch.tensor(self.cardinalities, dtype=torch.long)
        starts = sizes.cumsum(0) - sizes
        own = torch.ones(int(sizes.sum()), 1)
        own[starts] = 0.0
        self.register_buffer("starts", starts, persistent=False)
        rates = torch.full((len(sizes),), float(dropout))
        rates[list(steady)] = 0.0
        self.register_buffer("rates", rates, persistent=False)
        self.register_buffer("unseen", starts.repeat_interleave(sizes), persistent=False)
        self.register_buffer("known", own, persistent=False)
        self.linear = MaskedLinear(torch.ones(width, numeric))
        self.block = None if linear else MaskedLinear(torch.ones(width, width))
        if self.cardinalities:
            self.levels = nn.Parameter(torch.randn(len(own), width) * 0.1)
            with torch.no_grad():
                self.levels[starts] = 0.0
                self.levels[starts + 1] = 0.0

    def forward(self, context: Tensor, codes: Tensor) -> Tensor:
        """Numbers `(n, numeric)` and int64 codes `(n, categories)` to `(n, out_features)`."""
        n = context.shape[0]
        if context.shape != (n, self.numeric) or codes.shape != (n, len(self.cardinalities)):
            raise ValueError(
                f"context {tuple(context.shape)} and codes {tuple(codes.shape)} should be "
                f"({n}, {self.numeric}) and ({n}, {len(self.cardinalities)})"
            )
        if not self.out_features:
            return context
        hidden = self.linear(squash(context))
        if self.cardinalities:
            hidden = hidden + self._levels_of(codes)
        return hidden if self.block is None else hidden + self.block(functional.relu(hidden))

    def _levels_of(self, codes: Tensor) -> Tensor:
        self._check_codes(codes)
        if self.training and self.dropout > 0:
            lost = torch.rand(codes.shape, device=codes.device) < self.rates
            codes = codes.masked_fill(lost, 0)
        table = self.levels + self.levels[self.unseen] * self.known
        # Summed as it is read: a thousand columns are never held side by side.
        return functional.embedding_bag(codes + self.starts, table, mode="sum")

    def _check_codes(self, codes: Tensor) -> None:
        # All columns share one table: a code past its column would silently read the next column's levels.
        if not len(codes):
            return
        limit = codes.new_tensor(self.cardinalities)
        if bool(((codes < 0) | (codes >= limit)).any()):
            raise IndexError(f"a code lies outside its column's {list(self.cardinalities)} codes")
