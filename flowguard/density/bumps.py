"""Bumps of things that are no continuum: codes, and the points of a lattice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowguard.density.masked import ALIGNED

_TERMS = 8
_LEAST = 1e-300


def log_lattice_sum(spacing: Tensor) -> Tensor:
    """log of the sum over all whole k of exp(-(k * spacing)^2 / 2), for spacing > 0 in deviations; same shape.

    Where points lie close the sum is taken after Poisson's formula, so that it has a few terms in either case.

    Example:
        >>> round(log_lattice_sum(torch.tensor(0.01, dtype=torch.float64)).item(), 6)
        5.524109
    """
    k = torch.arange(1, _TERMS + 1, dtype=spacing.dtype, device=spacing.device)
    wide = torch.log1p(2 * (-0.5 * (k * spacing.unsqueeze(-1)) ** 2).exp().sum(-1))
    waves = torch.log1p(2 * (-2 * (math.pi * k / spacing.unsqueeze(-1)) ** 2).exp().sum(-1))
    close = 0.5 * math.log(2 * math.pi) - spacing.log() + waves
    return torch.where(spacing < 2, close, wide)


class CodeBump(nn.Module):
    """The probability of a code c beside a centre of code b: (1 - e) [c = b] + e q(c), by feature and leak e.

    `shares` are q of every code of every feature, each summing to 1. It is a probability for every b, and
    at e = 1 the frequency alone. Source: Aitchison and Aitken 1976, with frequencies in place of equal shares.

    Example:
        >>> bump = CodeBump([[0.25, 0.75]])
        >>> marks = Marks.of(torch.tensor([[0], [1]]), [0], dtype=torch.float32)
        >>> alone, by_centre = bump(torch.tensor([[0], [1]]), marks, torch.tensor([0.4]))
        >>> [round(p, 4) for p in (alone.unsqueeze(-1) + by_centre)[0, :, 0].exp().tolist()]
        [0.7, 0.3]
    """

    log_share: Tensor
    starts: Tensor

    def __init__(self, shares: Sequence[Sequence[float]]) -> None:
        super().__init__()
        sizes = torch.tensor([len(share) for share in shares], dtype=torch.long)
        flat = torch.tensor([value for share in shares for value in share], dtype=torch.float64)
        self.register_buffer("log_share", flat.clamp(min=_LEAST).log(), persistent=False)
        self.register_buffer("starts", sizes.cumsum(0) - sizes, persistent=False)

    def forward(self, codes: Tensor, marks: Marks, leak: Tensor) -> tuple[Tensor, Tensor | None]:
        """log K of the features of `marks` by leak: a part of the record alone `(s, n)`, and one by centre `(s, n, N)`.

        `codes` `(n, d)`, `leak` `(s,)`. The second is None where all centres have the same codes.
        """
        log_share = self.log_share[self.starts[marks.features] + codes[:, marks.features]].to(leak.dtype)
        floor = log_share + leak.log()[:, None, None]
        # What a code that is the centre's own has on top of its share.
        gain = torch.logaddexp(floor, torch.log1p(-leak)[:, None, None]) - floor
        alone = floor.sum(-1)
        if marks.same:
            agrees = codes[:, [marks.features[place] for place in marks.same]] == marks.common
            alone = alone + (gain[..., marks.same] * agrees).sum(-1)
        if not marks.known:
            return alone, None
        hits = [(place, codes[:, marks.features[place], None] == known) for place, known in marks.known.items()]
        weights = torch.cat([gain[:, :, place, None] * hit for place, hit in hits], -1)
        weights = functional.pad(weights, (0, -weights.shape[-1] % ALIGNED))
        return alone, torch.stack([functional.linear(each, marks.table) for each in weights])


@dataclass(frozen=True)
class Marks:
    """The codes of N centres as products of matrices need them.

    `features` are those it is of; `same` the places among these at which all centres have one code, `common`; `known`
    the codes that occur at each other place, and `table` (N, how many) marks which of them each centre has.
    """

    features: list[int]
    same: list[int]
    common: Tensor
    known: dict[int, Tensor]
    table: Tensor

    @classmethod
    def of(cls, centres: Tensor, features: Sequence[int], *, dtype: torch.dtype) -> Marks:
        """Of some features of the centres' codes `(N, d)`."""
        codes = centres[:, list(features)]
        vary = (codes != codes[:1]).any(0).tolist()
        same = [place for place, varies in enumerate(vary) if not varies]
        known, own = {}, [codes.new_zeros(len(codes), 0)]
        for place, varies in enumerate(vary):
            if varies:
                known[place], places = codes[:, place].unique(return_inverse=True)
                own.append(functional.one_hot(places, len(known[place])))
        table = torch.cat(own, -1).to(dtype)
        return cls(list(features), same, codes[0, same], known, functional.pad(table, (0, -table.shape[-1] % ALIGNED)))
