"""The contract of every bijection, and composition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn


def hold(values: Tensor, observed: Tensor | None) -> Tensor:
    """`values` with 0 wherever `observed` is False, so that a missing coordinate carries nothing.

    Filled, never multiplied: whatever stands in a missing cell, NaN included, must not leak.
    """
    return values if observed is None else values.masked_fill(~observed, 0.0)


class Bijection(nn.Module):
    """An invertible map between data x and noise z, with its log-determinant.

    `forward(x, context)` runs data to noise and returns `(z, log_det)`, shapes `(batch, features)` and
    `(batch,)`; `inverse(z, context)` returns x. `observed`, bool `(batch, features)`, marks the coordinates
    that exist: a missing one is held at 0 on both sides and adds nothing to `log_det`, so the map is a
    bijection of the observed coordinates alone.

    `order` is the one column order in which the map is triangular (column i of z depends on column i of x, on
    the columns before it in `order`, and on the context), or None. Triangular maps also give
    `forward_columns`, `invert_column` and `invert_columns`, and are increasing in every column, so that quantiles of x
    follow from quantiles of z.
    """

    features: int
    context_features: int
    order: tuple[int, ...] | None = None

    @property
    def triangular(self) -> bool:
        """Whether one column order holds throughout."""
        return self.order is not None

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Data to noise: z `(batch, features)` and log|det dz/dx| `(batch,)`."""
        raise NotImplementedError

    def inverse(self, z: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        """Noise to data: x `(batch, features)`."""
        raise NotImplementedError

    def forward_columns(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """z and log|dz_i/dx_i|, both `(batch, features)`; triangular maps only (TypeError)."""
        raise TypeError(f"{type(self).__name__} has no single column order, so no per-column terms")

    def invert_column(
        self,
        x: Tensor,
        z_column: Tensor,
        column: int,
        context: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> Tensor:
        """The value of x[:, column] whose z is `z_column`, earlier columns as in x.

        Shape `(batch,)`; 0 in rows where that column is missing. Triangular maps only (TypeError).
        """
        raise TypeError(f"{type(self).__name__} has no single column order, so no column can be inverted alone")

    def invert_columns(
        self, x: Tensor, z: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> Tensor:
        """`invert_column` of every column, each by itself: its z in `z`, earlier columns as in x, `(batch, features)`.

        Not `inverse`, where earlier columns follow from z. Triangular maps only (TypeError).
        """
        each = [self.invert_column(x, z[:, i], i, context, observed=observed) for i in range(self.features)]
        return torch.stack(each, -1)


class Chain(Bijection):
    """Bijections one after another, data side first.

    Triangular when all parts share one column order: the Jacobian is then a product of triangular ones, and
    log|dz_i/dx_i| is the sum over the parts.
    """

    def __init__(self, bijections: Sequence[Bijection]) -> None:
        super().__init__()
        if not bijections:
            raise ValueError("a chain needs at least one bijection")
        widths = {(b.features, b.context_features) for b in bijections}
        if len(widths) > 1:
            raise ValueError(f"chained bijections disagree on (features, context_features): {sorted(widths)}")
        self.parts = nn.ModuleList(bijections)
        self.features, self.context_features = widths.pop()
        orders = {b.order for b in bijections}
        self.order = orders.pop() if len(orders) == 1 else None

    def _bijections(self) -> list[Bijection]:
        return [cast(Bijection, part) for part in self.parts]

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(x.shape[0])
        for part in self._bijections():
            x, log_det = part(x, context, observed=observed)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        for part in reversed(self._bijections()):
            z = part.inverse(z, context, observed=observed)
        return z

    def forward_columns(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if not self.triangular:
            return super().forward_columns(x, context, observed=observed)
        total = torch.zeros_like(x)
        for part in self._bijections():
            x, log_slope = part.forward_columns(x, context, observed=observed)
            total = total + log_slope
        return x, total

    def invert_column(
        self,
        x: Tensor,
        z_column: Tensor,
        column: int,
        context: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> Tensor:
        if not self.triangular:
            return super().invert_column(x, z_column, column, context, observed=observed)
        for part, entering in self._received(x, context, observed):
            z_column = part.invert_column(entering, z_column, column, context, observed=observed)
        return z_column

    def invert_columns(
        self, x: Tensor, z: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> Tensor:
        if not self.triangular:
            return super().invert_columns(x, z, context, observed=observed)
        for part, entering in self._received(x, context, observed):
            z = part.invert_columns(entering, z, context, observed=observed)
        return z

    def _received(self, x: Tensor, context: Tensor | None, observed: Tensor | None) -> list[tuple[Bijection, Tensor]]:
        """Each part with what it receives, noise side first.

        Column i of a part looks at the columns before it as that part receives them: what stands in the column itself
        and after it does not matter.
        """
        found = []
        for part in self._bijections():
            found.append((part, x))
            if len(found) < len(self.parts):
                x, _ = part(x, context, observed=observed)
        return found[::-1]
