"""Trimmed likelihood: the records that fit worst are left out, for a share of a table may not belong there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flowguard.density import RecordDensity, RecordTerms
from flowguard.training.stream import Records

# What a standard normal coordinate has on average: its entropy.
_USUAL = 0.5 * math.log(2 * math.pi * math.e)


def usual_log_det(density: RecordDensity, records: Records) -> Tensor:
    """The encoder's mean log-determinant of each number among these records, `(m,)`; 0 where none has a value."""
    observed = density.observed(records.inputs.codes)
    return records.log_det.masked_fill(~observed, 0.0).sum(0) / observed.sum(0).clamp(min=1)


def excesses(density: RecordDensity, records: Records, terms: RecordTerms, *, usual: Tensor) -> dict[str, Tensor]:
    """By how much each record is less likely than usual, `(n,)` for each part: `mass` and `density`.

    Of the discrete part that is -log P itself. The density is that of the table's own values: encoded ones are spread
    evenly, and who lies alone in the table would be in company. But densities of different values do not compare, so
    what is usual goes off each of a record's values: what a standard normal has on average, and the encoder's mean
    log-determinant of that column (`usual_log_det`). Units do not matter then, nor how many values there are.
    """
    observed = density.observed(records.inputs.codes)
    level = (_USUAL + records.log_det - usual).masked_fill(~observed, 0.0).sum(-1)
    return {"mass": -terms.log_mass.detach(), "density": -terms.log_density.detach() - level}


def kept(excess: Tensor, share: float, *, draw: float | None = None) -> Tensor:
    """Which records stay when about `share` of them, those of the largest excess, are left out: bool `(n,)`.

    `share * n` is rounded down; with `draw` in [0, 1) it is rounded up if its fraction exceeds that, so that uniform
    draws leave out `share * n` on average, also of few records. What is no number goes first, and one always stays.

    Sources: Hadi and Luceno 1997 (maximum trimmed likelihood estimators), Neykov et al. 2007 (their use for mixtures,
    by alternating between fitting and leaving out, as here in every step).

    Errors: ValueError for a share outside of [0, 0.5).

    Example:
        >>> kept(torch.tensor([0.0, 9.0, 1.0, 2.0]), 0.25).tolist()
        [True, False, True, True]
    """
    if not 0 <= share < 0.5:
        raise ValueError(f"contamination is a share from 0 to below 0.5, not {share}")
    wanted = share * len(excess)
    count = math.floor(wanted) + (draw is not None and wanted - math.floor(wanted) > draw)
    stay = torch.ones_like(excess, dtype=torch.bool)
    stay[excess.argsort(descending=True, stable=True)[: min(count, len(excess) - 1)]] = False
    return stay
