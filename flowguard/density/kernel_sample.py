"""Records drawn from a kernel density: a width and a centre, then every feature by itself beside that centre."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from flowguard.density.column import FIRST, VALUE, Column
from flowguard.density.inputs import Inputs
from flowguard.density.kernel import BLOCK, KernelDensity

_REACH = 9.0
# Where points lie closer than this, in deviations, a rounded normal is their distribution to a ten-millionth.
_CLOSE = 1e-3


def sample_kernel(
    kernel: KernelDensity, context: Tensor, levels: Tensor, *, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """One record per row of the context `(n, c)` and `(n, k)`: codes `(n, d)`, and values `(n, m + j)`.

    Values are those of numbers and then integers, as `KernelDensity.values_of` states them: numbers on the scale of the
    kernel, integers on the straight one, 0 where the code is none of a value. A code that stands for no single value
    (`unknown`) is never drawn: it is drawn among the others.

    Example:
        >>> from flowguard.density.kernel_fit import fit_kernel
        >>> inputs = Inputs.plain(torch.linspace(-1, 1, 200).unsqueeze(1))
        >>> kernel = fit_kernel(inputs, [Column("number", (200, 0))], scale="front", seed=0)
        >>> none = torch.zeros(500, 0, dtype=torch.float64)
        >>> codes, values = sample_kernel(kernel, none, none.long(), generator=torch.Generator().manual_seed(0))
        >>> values.shape, bool(values.mean().abs() < 0.2)
        (torch.Size([500, 1]), True)
    """
    with torch.no_grad():
        which, centre = _bumps(kernel, context, levels, generator)
        codes = _codes(kernel, which, centre, generator)
        values = _values(kernel, which, centre, generator)
    return codes, values.masked_fill(codes[:, kernel.valued] != VALUE, 0.0)


def unknown(column: Column) -> int | None:
    """The code of a column that stands for no single value, None where there is none.

    >>> unknown(Column("category", (0, 1, 9))), unknown(Column("integer", (9, 0, 1))), unknown(Column("number", (9, 0)))
    (0, 2, None)
    """
    return {"category": VALUE, "integer": FIRST}.get(column.kind)


def known_shares(column: Column) -> list[float]:
    """The frequencies of a column's codes (`Column.shares`) among those that stand for something; they sum to 1.

    >>> [round(share, 3) for share in known_shares(Column("category", (0, 0, 60, 38), novel=0.1))]
    [0.0, 0.011, 0.605, 0.383]
    """
    shares = [0.0 if code == unknown(column) else share for code, share in enumerate(column.shares())]
    total = math.fsum(shares)
    return [share / total for share in shares]


def pick(chances: Tensor | Sequence[float], n: int, *, generator: torch.Generator | None = None) -> Tensor:
    """n places drawn with these chances `(c,)`, which need not sum to 1; one without a chance never comes.

    >>> pick([0.0, 2.0, 0.0], 3).tolist()
    [1, 1, 1]
    """
    sums = torch.as_tensor(chances, dtype=torch.float64).cumsum(0)
    draws = torch.rand(n, dtype=torch.float64, generator=generator)
    return torch.searchsorted(sums / sums[-1], draws, right=True)


def _bumps(
    kernel: KernelDensity, context: Tensor, levels: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """The width and the centre of each record, `(n,)` each."""
    n = len(context)
    if not kernel.context.shape[1] and not kernel.levels.shape[1]:
        which = pick(kernel.log_weight.double().exp(), n, generator=generator)
        return which, torch.randint(kernel.centres, (n,), generator=generator)
    pairs = []
    for rows in torch.arange(n).split(BLOCK):
        blank = context.new_zeros(len(rows), 0)
        codes = levels.new_zeros(len(rows), len(kernel.columns))
        given = kernel.given(Inputs(blank, codes, blank, blank, context[rows], levels[rows]))
        assert given is not None
        each = (given + kernel.log_weight[:, None, None]).transpose(0, 1).flatten(1)
        pairs.append(torch.multinomial(torch.softmax(each, -1), 1, generator=generator).squeeze(-1))
    pair = torch.cat(pairs) if pairs else torch.zeros(0, dtype=torch.long)
    return pair // kernel.centres, pair % kernel.centres


def _codes(kernel: KernelDensity, which: Tensor, centre: Tensor, generator: torch.Generator | None) -> Tensor:
    """The code of every feature: the centre's own, or one by its frequency."""
    codes, leak = kernel.codes[centre].clone(), kernel.leak.double()[which]
    for i, column in enumerate(kernel.columns):
        chances = known_shares(column)
        barred = unknown(column)
        # Without the code that is barred less than `leak` is left to frequencies, and nothing to a centre that has it.
        rest = leak if barred is None else leak * (1 - column.shares()[barred])
        own = (1 - leak) if barred is None else (1 - leak) * (codes[:, i] != barred)
        keep = torch.rand(len(codes), dtype=torch.float64, generator=generator) * (own + rest) < own
        codes[:, i] = torch.where(keep, codes[:, i], pick(chances, len(codes), generator=generator))
    return codes


def _values(kernel: KernelDensity, which: Tensor, centre: Tensor, generator: torch.Generator | None) -> Tensor:
    """A value of every number and integer, whether or not its code asks for one."""
    has = kernel.codes[centre][:, kernel.valued] == VALUE
    middle = torch.where(has, kernel.values[centre], 0.0)
    numbers = len(kernel.numbers)
    noise = torch.randn(len(centre), numbers, dtype=middle.dtype, generator=generator)
    middle[:, :numbers] += noise * torch.where(has[:, :numbers], kernel.width[which].unsqueeze(-1), 1.0)
    for place, i in enumerate(kernel.integers, numbers):
        column = kernel.columns[i]
        middle[:, place] += column.origin * ~has[:, place]
        # Beside a centre that has no value the deviation is 1, whichever width was drawn.
        group = torch.where(has[:, place], which, len(kernel.width))
        for s, width in enumerate([*kernel.width.tolist(), 1.0]):
            rows = (group == s).nonzero().squeeze(-1)
            steps = _steps(column.spacing / width, len(rows), generator).to(middle.dtype)
            middle[rows, place] += steps * column.spacing
    return middle


def _steps(spacing: float, n: int, generator: torch.Generator | None) -> Tensor:
    """n whole numbers k with chances proportional to exp(-(k * spacing)^2 / 2)."""
    if spacing < _CLOSE:
        return (torch.randn(n, dtype=torch.float64, generator=generator) / spacing).round()
    reach = math.ceil(_REACH / spacing)
    k = torch.arange(-reach, reach + 1, dtype=torch.float64)
    return k[pick((-0.5 * (k * spacing) ** 2).exp(), n, generator=generator)]
