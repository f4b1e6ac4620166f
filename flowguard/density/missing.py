"""The probability of which columns are missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowguard.density.masked import MaskedNetwork

# No pattern that was trained on is ever more certain than this: log p >= -20 for each maskable column.
_CERTAIN = 20.0
# Columns that go missing together need logits of +-10, which weights near 0 would take long to reach.
_STEP = 8.0


class MissingMask(nn.Module):
    """The exact p(observed mask | context), one Bernoulli per column given the maskable columns before it.

    `maskable` are the columns that were ever missing in training. Each bit's probability is a mixture: with
    weight 1 - `backoff` a masked network that knows the context, with weight `backoff` one that knows the bits
    before it alone. Missing values come in clusters (a storm, a broken feed), from which a network learns far
    too much certainty; the second part bounds how surprised it can be. Any other column is missing with the
    constant probability 1/(training_rows + 2), the Laplace estimate after no case in that many rows:
    improbable, never impossible. Over all 2**features masks the probabilities sum to 1.

    Example:
        >>> import torch
        >>> mask = MissingMask(2, maskable=[], context=0, training_rows=98)
        >>> mask.log_prob(torch.tensor([[True, False]]), torch.zeros(1, 0)).exp().tolist()[0][1]
        0.009999999776482582
    """

    columns: Tensor

    def __init__(
        self,
        features: int,
        maskable: Sequence[int],
        *,
        context: int,
        training_rows: int,
        hidden: Sequence[int] = (32,),
        backoff: float = 0.1,
    ) -> None:
        super().__init__()
        if list(maskable) != sorted(set(maskable)) or not set(maskable) <= set(range(features)):
            raise ValueError(f"maskable must list some of {features} columns in order, not {list(maskable)}")
        if training_rows < 0:
            raise ValueError(f"training_rows cannot be {training_rows}")
        self.features, self.context_features, self.maskable = features, context, tuple(maskable)
        self.log_never = -math.log(training_rows + 2)
        self.log_always = math.log1p(-1 / (training_rows + 2))
        self.register_buffer("columns", torch.tensor(self.maskable, dtype=torch.long), persistent=False)
        if not 0 < backoff < 1:
            raise ValueError(f"backoff lies between 0 and 1, not {backoff}")
        self.backoff = backoff
        self.network: MaskedNetwork | None = None
        self.usual: MaskedNetwork | None = None
        if self.maskable:
            degree = list(range(1, len(self.maskable) + 1))
            self.network = MaskedNetwork(degree + [0] * context, degree, size=1, hidden=hidden)
            self.usual = MaskedNetwork(degree, degree, size=1, hidden=hidden)

    def _terms(self, observed: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """log p of each maskable column being observed and being missing, both `(batch, maskable)`."""
        assert self.network is not None
        assert self.usual is not None
        bits = observed.index_select(1, self.columns).to(context.dtype) * 2 - 1
        # The context corrects what the bits alone say: it need not learn once more how columns go missing together.
        plain = self.usual(bits)
        usual = _bounded(plain)
        informed = _bounded(plain + self.network(torch.cat((bits, context), -1)))
        weights = math.log1p(-self.backoff), math.log(self.backoff)
        here, gone = (
            torch.logaddexp(
                weights[0] + functional.logsigmoid(sign * informed), weights[1] + functional.logsigmoid(sign * usual)
            )
            for sign in (1, -1)
        )
        return here, gone

    def log_prob(self, observed: Tensor, context: Tensor) -> Tensor:
        """log p of each bit given the maskable bits before it and the context, `(batch, features)`."""
        constant = context.new_tensor([self.log_never, self.log_always])
        terms = constant[observed.long()]
        if self.network is None:
            return terms
        here, gone = self._terms(observed, context)
        return terms.index_copy(1, self.columns, torch.where(observed.index_select(1, self.columns), here, gone))

    def sample(self, context: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """One mask per row of the context, bool `(batch, features)`."""
        n = context.shape[0]
        draw = torch.rand(n, self.features, dtype=context.dtype, device=context.device, generator=generator)
        observed = draw < math.exp(self.log_always)
        with torch.no_grad():
            for place, column in enumerate(self.maskable):
                chance = self._terms(observed, context)[0][:, place].exp()
                observed[:, column] = draw[:, column] < chance
        return observed


def _bounded(raw: Tensor) -> Tensor:
    """Logits from what a network returns: in steps of several nats, and never beyond `_CERTAIN`."""
    return _CERTAIN * torch.tanh(_STEP * raw.squeeze(-1) / _CERTAIN)
