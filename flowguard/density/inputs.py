"""Records as a density reads them: one tensor per part, one row per record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Inputs:
    """n records with d features, m of kind number and j of kind integer, in the order of the features.

    `x` (n, m) float: the continuous values; `codes` (n, d) int64: what each feature is, 0 a value (or a level never
    seen), 1 missing, 2.. an atom or a level (see `Column`); `lower` and `log_width` (n, j) float: the lower edge of an
    integer's step and the logarithm of its width, on the axis of the density; `context` (n, c) float and `levels`
    (n, k) int64: what the density is conditioned on. `line` (n, m + j): the values of numbers and then integers on a
    straight scale, atoms among them, and `log_stretch` (n, m): log |d line / d x|; None where no kernel density asks
    for them. `x`,
    `lower` and `log_width` may hold anything where the code is not 0.

    Example:
        >>> inputs = Inputs.plain(torch.zeros(3, 2))
        >>> inputs.codes.shape, len(inputs.take(slice(0, 2)))
        (torch.Size([3, 2]), 2)
    """

    x: Tensor
    codes: Tensor
    lower: Tensor
    log_width: Tensor
    context: Tensor
    levels: Tensor
    line: Tensor | None = None
    log_stretch: Tensor | None = None

    @classmethod
    def plain(cls, x: Tensor, context: Tensor | None = None) -> Inputs:
        """Numbers that are all there, `(n, d)`, given numbers `(n, c)` or nothing."""
        n = len(x)
        none, no_codes = x.new_zeros(n, 0), torch.zeros(n, 0, dtype=torch.long, device=x.device)
        codes = torch.zeros(x.shape, dtype=torch.long, device=x.device)
        return cls(x, codes, none, none, none if context is None else context, no_codes)

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: Tensor | slice) -> Inputs:
        """The records at `index`, in that order."""
        return self._each(lambda part: part[index])

    def to(self, target: torch.device | torch.dtype) -> Inputs:
        """The same records on another device, or with their numbers in another precision."""

        def moved(part: Tensor) -> Tensor:
            # Codes stay whole numbers.
            return part if isinstance(target, torch.dtype) and not part.is_floating_point() else part.to(target)

        return self._each(moved)

    @staticmethod
    def join(parts: Sequence[Inputs]) -> Inputs:
        """Several groups of records as one, in order."""
        if len(parts) == 1:
            return parts[0]
        columns = ([getattr(part, field.name) for part in parts] for field in fields(Inputs))
        return Inputs(*(None if column[0] is None else torch.cat(column) for column in columns))  # type: ignore[arg-type]

    def _each(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        parts = (getattr(self, field.name) for field in fields(self))
        return Inputs(*(None if part is None else change(part) for part in parts))  # type: ignore[arg-type]
