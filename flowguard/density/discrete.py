"""The discrete part of a record: which features are missing, at an atom or of which level, and integers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowguard.density.column import VALUE, Column
from flowguard.density.masked import MaskedNetwork, calm
from flowguard.density.steps import Steps

# Nothing that was trained on is ever more certain than this: logits move by +-10 from those of the frequencies.
_CERTAIN = 10.0
# Columns that go together need logits of +-10, which weights near 0 would take long to reach.
_STEP = 8.0

Lattice = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""(which integer column, points on its axis) -> lower edge and log width of the steps that they lie in."""


class DiscretePart(nn.Module):
    """The exact p(codes and integers | context), one column given those before it.

    A column's codes have masked autoregressive probabilities: its frequencies in training as logits, moved by a masked
    network that sees the columns before. An integer with code 0 also has the probability of its step (`Steps`). Every
    probability is a mixture: with weight 1 - `backoff` the network knows the context, with weight `backoff` only the
    columns before. Missing values come in clusters (a storm, a broken feed), from which a network learns far too
    much certainty; the second part bounds how surprised it can be. Codes that never occurred keep a small constant
    probability (`Column.never`). Over all codes and steps the probabilities sum to 1.

    `terms(codes, lower, log_width, context)` is the log-probability of each feature given those before it, `(n, d)`: 0
    for an integer's code that is certain, never more than 0.

    Source: Germain et al. 2015 (MADE) for the masks; with softmax outputs, Uria et al. 2016 (NADE), section 4.

    Errors: IndexError for a code that its column does not have; ValueError for a weight outside of (0, 1).

    Example:
        >>> part = DiscretePart([Column("category", (0, 0, 60, 38))], context=0)
        >>> codes = torch.tensor([[0], [1], [2], [3]])
        >>> none = torch.zeros(4, 0)
        >>> round(part.terms(codes, none, none, none).exp().sum().item(), 5)
        1.0
    """

    starts: Tensor
    sizes: Tensor
    fixed: Tensor
    place: Tensor
    occurred: Tensor
    owner: Tensor
    share: Tensor
    coded: Tensor
    whole: Tensor

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        context: int,
        hidden: Sequence[int] = (64, 64),
        width: int = 8,
        components: int = 8,
        backoff: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 < backoff < 1:
            raise ValueError(f"backoff lies between 0 and 1, not {backoff}")
        self.columns, self.context_features, self.backoff = tuple(columns), context, backoff
        self.steps = Steps(components)
        self.integers = [i for i, column in enumerate(columns) if column.kind == "integer"]
        learned = [i for i, column in enumerate(columns) if len(column.live) > 1]
        modelled = sorted({*learned, *self.integers})
        degree = {column: place for place, column in enumerate(modelled, 1)}
        self._tables(learned)
        self.groups, outputs = self._layout(learned)
        self.outputs = sum(len(self.columns[i].live) for i in outputs)
        targets = [degree[i] for i in outputs for _ in self.columns[i].live]
        targets += [degree[i] for i in self.integers for _ in range(self.steps.size)]
        self.network: MaskedNetwork | None = None
        self.usual: MaskedNetwork | None = None
        if not modelled:
            return
        # One number tells two codes apart; more of them need more, up to `width`.
        self.width = min(width, max((len(self.columns[i].live) - 1 for i in learned), default=0))
        inputs = [degree[i] for i in learned for _ in range(self.width)] + [degree[i] for i in self.integers]
        self.embedding = nn.Parameter(self._embedding(learned))
        self.usual = MaskedNetwork(inputs, targets, size=1, hidden=hidden)
        if context:
            self.network = MaskedNetwork(inputs + [0] * context, targets, size=1, hidden=hidden)

    def _tables(self, learned: Sequence[int]) -> None:
        """Flat tables over all codes of all columns: the constant part of log p, and a code's place among the live."""
        sizes = torch.tensor([len(column.counts) for column in self.columns], dtype=torch.long)
        fixed, place = [], []
        for column in self.columns:
            never = column.never()
            rest = math.log1p(-math.fsum(never))
            fixed += [rest if count else math.log(chance) for count, chance in zip(column.counts, never, strict=True)]
            places = {code: at for at, code in enumerate(column.live)}
            place += [places.get(code, 0) for code in range(len(column.counts))]
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("starts", sizes.cumsum(0) - sizes, persistent=False)
        self.register_buffer("fixed", torch.tensor(fixed, dtype=torch.float64), persistent=False)
        self.register_buffer("place", torch.tensor(place, dtype=torch.long), persistent=False)
        owner = torch.arange(len(self.columns)).repeat_interleave(sizes)
        share = [count / column.rows for column in self.columns for count in column.counts]
        self.register_buffer("owner", owner, persistent=False)
        self.register_buffer("share", torch.tensor(share, dtype=torch.float64).unsqueeze(1), persistent=False)
        occurred = [count > 0 for column in self.columns for count in column.counts]
        self.register_buffer("occurred", torch.tensor(occurred), persistent=False)
        self.register_buffer("coded", torch.tensor(learned, dtype=torch.long), persistent=False)
        self.register_buffer("whole", torch.tensor(self.integers, dtype=torch.long), persistent=False)

    def _layout(self, learned: Sequence[int]) -> tuple[list[tuple[int, int, int]], list[int]]:
        """Columns with as many live codes lie side by side, so that one softmax serves them.

        Returns (first output, columns, live codes) of each group, and the columns in the order of the outputs.
        """
        alike: dict[int, list[int]] = defaultdict(list)
        for i in learned:
            alike[len(self.columns[i].live)].append(i)
        groups: list[tuple[int, int, int]] = []
        order: list[int] = []
        start = 0
        for live, members in sorted(alike.items()):
            frequencies = [[self.columns[i].counts[code] for code in self.columns[i].live] for i in members]
            prior = torch.tensor(frequencies, dtype=torch.float64)
            prior = (prior / prior.sum(1, keepdim=True)).log()
            self.register_buffer(f"prior{len(groups)}", prior, persistent=False)
            self.register_buffer(f"members{len(groups)}", torch.tensor(members, dtype=torch.long), persistent=False)
            groups.append((start, len(members), live))
            start += len(members) * live
            order += members
        return groups, order

    def _embedding(self, learned: Sequence[int]) -> Tensor:
        """A vector per code, `(all codes, width)`; 0 for codes that never occurred: an average level."""
        table = torch.zeros(int(self.sizes.sum()), self.width)
        for i in learned:
            live, start = self.columns[i].live, int(self.starts[i])
            if self.width == 1:
                table[[start + code for code in live], 0] = torch.linspace(-1.0, 1.0, len(live))
            else:
                table[[start + code for code in live]] = 0.5 * torch.randn(len(live), self.width)
        return table

    # -- probabilities -----------------------------------------------------------------------------------------------

    def terms(self, codes: Tensor, lower: Tensor, log_width: Tensor, context: Tensor) -> Tensor:
        """log p of each feature given those before it and the context, `(n, d)`."""
        flat = self._flat(codes)
        terms = self.fixed.to(context.dtype)[flat]
        if self.usual is None:
            return terms
        outputs = self._outputs(codes, flat, lower, context)
        known = self.occurred[flat]
        for number, (start, count, live) in enumerate(self.groups):
            members = getattr(self, f"members{number}")
            chosen = self.place[flat[:, members]].unsqueeze(-1)
            each = [
                self._log_softmax(raw, number, start, count, live).gather(-1, chosen).squeeze(-1) for raw in outputs
            ]
            terms = terms.index_add(1, members, self._mixed(each).masked_fill(~known[:, members], 0.0))
        if self.integers:
            valued = codes[:, self.whole] == VALUE
            edge, width = lower.masked_fill(~valued, 0.0), log_width.masked_fill(~valued, 0.0)
            each = [self.steps.log_prob(edge, width, self._step_parameters(raw)) for raw in outputs]
            terms = terms.index_add(1, self.whole, self._mixed(each).masked_fill(~valued, 0.0))
        return terms

    def code_log_probs(
        self, codes: Tensor, lower: Tensor, log_width: Tensor, context: Tensor, *, column: int
    ) -> Tensor:
        """log p of every code of one column given the columns before it and the context, `(n, codes)`."""
        start = int(self.starts[column])
        table = self.fixed[start : start + len(self.columns[column].counts)].to(context.dtype).expand(len(codes), -1)
        for number, (first, count, live) in enumerate(self.groups):
            members = getattr(self, f"members{number}").tolist()
            if column in members:
                outputs = self._outputs(codes, self._flat(codes), lower, context)
                each = [self._log_softmax(raw, number, first, count, live)[:, members.index(column)] for raw in outputs]
                where = torch.tensor(self.columns[column].live, device=codes.device)
                return table.index_add(1, where, self._mixed(each))
        return table

    def quantile(
        self, codes: Tensor, lower: Tensor, log_width: Tensor, context: Tensor, *, column: int, q: float | Tensor
    ) -> Tensor:
        """The q-quantile of an integer on its axis given the columns before it, `(n,)`, where it knows the context."""
        return self.quantiles(codes, lower, log_width, context, q=q, columns=[column])[:, 0]

    def quantiles(
        self,
        codes: Tensor,
        lower: Tensor,
        log_width: Tensor,
        context: Tensor,
        *,
        q: float | Tensor,
        columns: Sequence[int] | None = None,
    ) -> Tensor:
        """The q-quantiles of some integers, or of all, each given the columns before it, `(n, how many)`."""
        places = [self.integers.index(column) for column in (self.integers if columns is None else columns)]
        outputs = self._outputs(codes, self._flat(codes), lower, context)
        parameters = self._step_parameters(outputs[0])[:, places]
        level = torch.as_tensor(q, dtype=context.dtype, device=context.device).expand(len(codes))
        return self.steps.quantile(level.unsqueeze(-1), parameters)

    # -- samples -----------------------------------------------------------------------------------------------------

    def sample(
        self, context: Tensor, *, lattice: Lattice | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Codes, lower edges and log widths, one record per row of the context.

        `lattice` tells the steps of integers; TypeError where there are integers and none is given.
        """
        if self.integers and lattice is None:
            raise TypeError("integers can only be drawn with their lattice: pass the encoder's `lattice`")
        n, d = len(context), len(self.columns)
        codes = torch.zeros(n, d, dtype=torch.long, device=context.device)
        lower = context.new_zeros(n, len(self.integers))
        log_width = torch.zeros_like(lower)
        draws = torch.rand(n, d, 2, dtype=context.dtype, device=context.device, generator=generator)
        with torch.no_grad():
            for column in range(d):
                chances = self.code_log_probs(codes, lower, log_width, context, column=column).exp().cumsum(-1)
                # Rounding may leave the last sum a hair below the draw.
                drawn = (chances < draws[:, column, :1]).sum(-1).clamp(max=chances.shape[1] - 1)
                codes[:, column] = drawn
                if column in self.integers:
                    place = self.integers.index(column)
                    point = self._step_draw(codes, lower, context, place, draws[:, column, 1], generator)
                    lower[:, place], log_width[:, place] = lattice(place, point)  # type: ignore[misc]
        valued = codes[:, self.whole] == VALUE
        return codes, lower.masked_fill(~valued, 0.0), log_width.masked_fill(~valued, 0.0)

    def _step_draw(
        self,
        codes: Tensor,
        lower: Tensor,
        context: Tensor,
        place: int,
        level: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        outputs = self._outputs(codes, self._flat(codes), lower, context)
        points = [self.steps.quantile(level, self._step_parameters(raw)[:, place]) for raw in outputs]
        pick = torch.rand(len(codes), dtype=context.dtype, device=context.device, generator=generator)
        return points[0] if len(points) == 1 else torch.where(pick < self.backoff, points[1], points[0])

    # -- networks ----------------------------------------------------------------------------------------------------

    def integers_seen(self, codes: Tensor, lower: Tensor) -> Tensor:
        """What other columns see of the integers, `(n, j)`: 0 where there is no value, and far out hardly any more."""
        return calm(lower.masked_fill(codes[:, self.whole] != VALUE, 0.0))

    def _flat(self, codes: Tensor) -> Tensor:
        # All columns share one table: a code past its column would silently read the next column's.
        if len(codes) and bool(((codes < 0) | (codes >= self.sizes)).any()):
            raise IndexError(f"a code lies outside its column's {self.sizes.tolist()[:20]} codes")
        return codes + self.starts

    def _outputs(self, codes: Tensor, flat: Tensor, lower: Tensor, context: Tensor) -> list[Tensor]:
        """What the networks return, `(n, outputs)`: with the context where there is one, then without it."""
        assert self.usual is not None
        parts = [functional.embedding(flat[:, self.coded], self._centered()).flatten(1)]
        if self.integers:
            parts.append(self.integers_seen(codes, lower))
        seen = torch.cat(parts, -1)
        plain = self.usual(seen).squeeze(-1)
        if self.network is None:
            return [plain]
        # The context corrects what the columns alone say: it need not learn once more how they go together.
        return [plain + self.network(torch.cat((seen, context), -1)).squeeze(-1), plain]

    def _centered(self) -> Tensor:
        """The vector of each code less its column's mean over the training records.

        What nearly all records have is then 0: of a thousand columns that are hardly ever set, only those that are
        say anything, and a step of training does not move all logits at once.
        """
        mean = self.embedding.new_zeros(len(self.columns), self.width)
        mean = mean.index_add(0, self.owner, self.share.to(mean.dtype) * self.embedding)
        return self.embedding - mean[self.owner]

    def _log_softmax(self, raw: Tensor, number: int, start: int, count: int, live: int) -> Tensor:
        moved = raw[:, start : start + count * live].unflatten(1, (count, live))
        prior = getattr(self, f"prior{number}").to(raw.dtype)
        return torch.log_softmax(prior + _CERTAIN * torch.tanh(_STEP * moved / _CERTAIN), -1)

    def _step_parameters(self, raw: Tensor) -> Tensor:
        return raw[:, self.outputs :].unflatten(1, (len(self.integers), self.steps.size))

    def _mixed(self, each: Sequence[Tensor]) -> Tensor:
        if len(each) == 1:
            return each[0]
        return torch.logaddexp(math.log1p(-self.backoff) + each[0], math.log(self.backoff) + each[1])
