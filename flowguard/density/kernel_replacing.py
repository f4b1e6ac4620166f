"""A kernel density of records with one number replaced: the distances along the other columns stay."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flowguard.density.column import VALUE
from flowguard.density.flow import log_normal
from flowguard.density.inputs import Inputs
from flowguard.density.kernel import BLOCK, KernelDensity
from flowguard.density.scratch import scratch

ROWS = 16
"""Records whose distances are one product of matrices: of another shape it may round otherwise."""
_AT_ONCE = 64


class KernelReplacing:
    """log p of records under a kernel density with other values in one number; results as `KernelDensity`'s.

    Bumps are products over the features. So of each record and centre all factors but one stay as they are, and each
    further value costs one difference for each centre, whatever the number of columns. Nothing is taken off a sum again
    (which would cancel far out): the other columns are added up without the replaced one.

    Records in float64, without gradients.
    """

    def __init__(self, kernel: KernelDensity, inputs: Inputs) -> None:
        self.kernel, self.m, n = kernel, len(kernel.numbers), len(inputs)
        self.values, self.present = kernel.values_of(inputs), inputs.codes[:, kernel.valued] == VALUE
        self.stretch = kernel.stretch(inputs)
        every = torch.arange(n + -n % BLOCK).clamp(max=n - 1)
        parts = [kernel.beside(inputs.take(rows)) for rows in every.split(BLOCK)]
        self.start = torch.cat([start for start, _, _ in parts])[:n]
        self.alone = torch.cat([alone for _, alone, _ in parts], -1)[:, :n]
        some = [part[2] for part in parts if part[2] is not None]
        self.by_centre = torch.cat(some, 1)[:, :n] if some else None

    def log_prob(self, rows: Tensor, place: int, values: Tensor, log_stretch: Tensor) -> Tensor:
        """`(r, k)` for the records at `rows`, `values` `(r, k)` on this density's scale in their number at `place`.

        r is a multiple of `ROWS`; `log_stretch` `(r, k)` is as in `Inputs`, 0 where the scale is that of x.
        """
        others = [other for other in range(self.m) if other != place]
        centres = self.kernel.centre_values(others), self.kernel.centre_values([place])
        groups = zip(rows.split(ROWS), values.split(ROWS), strict=True)
        found = [self._group(*group, place, others, *centres) for group in groups]
        other = self.stretch[rows].clone()
        other[:, place] = 0.0
        return torch.cat(found) + (other.sum(-1, keepdim=True) + log_stretch)

    def _group(
        self,
        rows: Tensor,
        values: Tensor,
        place: int,
        others: Sequence[int],
        beside: tuple[Tensor, Tensor],
        along: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Of `ROWS` records; the centres' values `beside` the number at `place`, and `along` it."""
        kernel, k = self.kernel, values.shape[1]
        own, distance, extra = kernel.value_parts(self.values[rows], self.present[rows], others, beside)
        norm = kernel.log_norm()[:, place]
        alone = self.alone[:, rows] + own - norm.unsqueeze(-1) + torch.log_softmax(kernel.log_weight, 0).unsqueeze(-1)
        level = values.new_zeros(len(norm), len(rows), kernel.centres)
        for part in (extra, None if self.by_centre is None else self.by_centre[:, rows]):
            if part is not None:
                level += part
        narrow = 1 / (2 * kernel.width**2)
        if distance is not None:
            level -= distance * narrow[:, None, None]
        centre, has, found = along[0].squeeze(-1), along[1].squeeze(-1), []
        gone = 1 - has
        step = max(1, _AT_ONCE // k)
        for start in range(0, len(rows), step):
            here = slice(start, start + step)
            shape = values[here].shape
            apart = torch.sub(values[here].unsqueeze(-1), centre, out=scratch("apart", values, *shape, len(centre)))
            if gaps := bool(gone.any()):
                apart *= has
                astray = log_normal(values[here])
            each = []
            for s in range(len(norm)):
                logs = scratch("bumps", values, *shape, len(centre))
                torch.addcmul(level[s, here].unsqueeze(1), apart, apart, value=-float(narrow[s]), out=logs)
                if gaps:
                    logs += (astray + norm[s]).unsqueeze(-1) * gone
                top = logs.amax(-1, keepdim=True)
                each.append(logs.sub_(top).exp_().sum(-1).log() + top.squeeze(-1) + alone[s, here].unsqueeze(-1))
            found.append(torch.logsumexp(torch.stack(each), 0))
        return torch.cat(found) - math.log(kernel.centres) - self.start[rows].unsqueeze(-1)
