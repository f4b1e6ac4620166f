"""The masked autoregressive bijection, over any transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowguard.density.bijection import Bijection, hold
from flowguard.density.masked import MaskedNetwork, squash, with_context
from flowguard.density.transformers import Transformer


class Autoregressive(Bijection):
    """z_i = t(x_i; parameters(columns before i, context)): one network pass either way, back column by column.

    Source: Papamakarios, Pavlakou, Murray 2017 (Masked Autoregressive Flow). `order` lists the columns first
    to last (default 0, 1, ..). The first column's parameters depend on the context, all others also on the
    columns before.

    Example:
        >>> import torch
        >>> from flowguard.density.transformers import Affine
        >>> layer = Autoregressive(3, Affine(), context=2)
        >>> z, log_det = layer(torch.zeros(5, 3), torch.ones(5, 2))
        >>> z.shape, log_det.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    ahead: Tensor | None
    back: Tensor | None

    def __init__(
        self,
        features: int,
        transformer: Transformer,
        *,
        context: int = 0,
        hidden: Sequence[int] = (64, 64),
        order: Sequence[int] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.order: tuple[int, ...] = tuple(range(features)) if order is None else tuple(order)
        if sorted(self.order) != list(range(features)) or features < 1:
            raise ValueError(f"order must name each of {features} columns once, not {self.order}")
        self.features, self.context_features, self.transformer = features, context, transformer
        degree = [self.order.index(column) + 1 for column in range(features)]
        inputs = degree + [0] * context
        ordered = self.order == tuple(range(features))
        for name, places in (("ahead", self.order), ("back", [place - 1 for place in degree])):
            self.register_buffer(name, None if ordered else torch.tensor(places), persistent=False)
        self.network = MaskedNetwork(inputs, degree, size=transformer.size, hidden=hidden, dropout=dropout)

    def _predict(self, x: Tensor, context: Tensor | None, column: int) -> Tensor:
        return self.network(with_context(x, context, self.context_features), column)

    def forward_columns(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        # Columns lie in order, each in one run of memory; returned transposed, so that the next layer finds them so.
        columns = self.in_order(hold(x, observed))
        parameters = self.network.planes(self.seen(columns, context)).transpose(1, 2)
        z, log_slope = (self.as_given(found) for found in self.transformer.forward(columns, parameters))
        return hold(z, observed), hold(log_slope, observed)

    def in_order(self, x: Tensor) -> Tensor:
        """Columns `(batch, features)` in the layer's order, `(features, batch)`, each in one run of memory."""
        columns = x.T.contiguous()
        return columns if self.ahead is None else columns.index_select(0, self.ahead)

    def as_given(self, columns: Tensor) -> Tensor:
        """`(features, batch)` in the layer's order to `(batch, features)` in that of the records."""
        return columns.T if self.back is None else columns.index_select(0, self.back).T

    def seen(self, columns: Tensor, context: Tensor | None) -> Tensor:
        """The network's inputs in order of degree, of columns in order."""
        given = with_context(columns[:0].T, context, self.context_features)
        return torch.cat((given.T, squash(columns))) if self.context_features else squash(columns)

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        z, log_slope = self.forward_columns(x, context, observed=observed)
        # A record's columns side by side: how a sum over rows of memory rounds may depend on the place in them.
        return z, log_slope.contiguous().sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        unrolled = self.network.unrolled(with_context(z[:, :0], context, self.context_features))
        columns = list(z.T.contiguous())
        for degree, column in enumerate(self.order, start=1):
            value = self.transformer.inverse(columns[column], unrolled.parameters(column))
            columns[column] = hold(value, None if observed is None else observed[:, column])
            unrolled.reveal(degree, squash(columns[column]).unsqueeze(-1))
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
        parameters = self._predict(hold(x, observed), context, column)
        value = self.transformer.inverse(z_column, parameters)
        return hold(value, None if observed is None else observed[:, column])

    def invert_columns(
        self, x: Tensor, z: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> Tensor:
        # One pass of the network tells the parameters of all columns.
        parameters = self.network.planes(self.seen(self.in_order(hold(x, observed)), context)).transpose(1, 2)
        return hold(self.as_given(self.transformer.inverse(self.in_order(z), parameters)), observed)
