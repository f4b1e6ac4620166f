"""The coupling bijection, over any transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flowguard.density.bijection import Bijection, hold
from flowguard.density.masked import MaskedNetwork, with_context
from flowguard.density.transformers import Transformer


class Coupling(Bijection):
    """The `transformed` columns are mapped given the others and the context; the others pass as they are.

    Source: Dinh, Sohl-Dickstein, Bengio 2017 (RealNVP). One network pass in both directions. `transformed`
    may hold any non-empty set of columns, all of them too (then the context alone conditions, as with a
    single column). Stack layers whose sets together cover every column: `realnvp` does.

    Example:
        >>> import torch
        >>> from flowguard.density.transformers import Affine
        >>> z, log_det = Coupling(3, Affine(), transformed=[0, 2])(torch.ones(5, 3))
        >>> bool((z[:, 1] == 1).all())
        True
    """

    chosen: Tensor
    passed: Tensor

    def __init__(
        self,
        features: int,
        transformer: Transformer,
        *,
        transformed: Sequence[int],
        context: int = 0,
        hidden: Sequence[int] = (64, 64),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        chosen = sorted(set(transformed))
        if not chosen or not set(chosen) <= set(range(features)):
            raise ValueError(f"transformed must name some of {features} columns, not {list(transformed)}")
        passed = [column for column in range(features) if column not in chosen]
        self.features, self.context_features, self.transformer = features, context, transformer
        self.register_buffer("chosen", torch.tensor(chosen, dtype=torch.long), persistent=False)
        self.register_buffer("passed", torch.tensor(passed, dtype=torch.long), persistent=False)
        seen = [0] * (len(passed) + context)
        self.network = MaskedNetwork(seen, [1] * len(chosen), size=transformer.size, hidden=hidden, dropout=dropout)

    def _predict(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self.network(with_context(x.index_select(1, self.passed), context, self.context_features))

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        x = hold(x, observed)
        values, log_slope = self.transformer.forward(x.index_select(1, self.chosen), self._predict(x, context))
        if observed is not None:
            log_slope = hold(log_slope, observed.index_select(1, self.chosen))
        return hold(x.index_copy(1, self.chosen, values), observed), log_slope.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        z = hold(z, observed)
        values = self.transformer.inverse(z.index_select(1, self.chosen), self._predict(z, context))
        return hold(z.index_copy(1, self.chosen, values), observed)
