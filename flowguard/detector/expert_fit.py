"""Kernel densities beside a trained flow: their centres, their widths, and the weight of each expert."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from flowguard.density import Experts, Inputs, RecordDensity, fit_blurred, fit_kernel
from flowguard.training import Records

HELD = 10_000
"""Held-out records that are looked at, at most: the first of the stream."""

_ROWS = 1024


def add_experts(
    density: RecordDensity,
    training: Iterable[Records],
    held_out: Iterable[Records],
    *,
    centres: int,
    rows: int,
    seed: int,
) -> None:
    """Mix `density`, trained and in float64, with two kernel densities and the columns by themselves.

    One kernel density is on the straight scale of each number, the other on that of its front; a third, of the blurred
    records, goes with them and is not mixed. Their `centres` are
    drawn at random, the same for the same seed, from the training stream, `rows` long, and the held-out records:
    neither is what calibration looks at. The weights of the experts are those of the largest likelihood of the held-out
    records, each left out where it is a centre. Of fewer than two records nothing is made.
    """
    held = _first(held_out, HELD)
    if held is None:
        return
    chosen = np.sort(np.random.default_rng([seed, rows]).permutation(rows + len(held))[:centres])
    parts, before = [], 0
    for records in training:
        here = chosen[(chosen >= before) & (chosen < before + len(records))] - before
        parts.append(records.inputs.take(torch.from_numpy(here)))
        before += len(records)
    mine = torch.from_numpy(chosen[chosen >= rows] - rows)
    place = torch.full((len(held),), -1)
    # Counted here, not above: records that could not be encoded are in `rows` and did not come.
    place[mine] = torch.arange(len(mine)) + sum(len(part) for part in parts)
    drawn = Inputs.join([*parts, held.take(mine)])
    if len(drawn) < 2:
        return
    columns, cardinalities = density.discrete.columns, density.config["cardinalities"]
    kernels = [
        fit_kernel(drawn, columns, scale=scale, seed=seed, cardinalities=cardinalities) for scale in ("line", "front")
    ]
    blurred = fit_blurred(drawn, columns, seed=seed, cardinalities=cardinalities)
    experts = Experts(columns, kernels, blurred).double()
    experts.weigh(_log_each(density, experts, held, place))
    density.joined_by(experts)


def _log_each(density: RecordDensity, experts: Experts, held: Inputs, place: Tensor) -> Tensor:
    """Log-likelihood of the held-out records under each expert, `(n, E)`."""
    found = []
    with torch.inference_mode():
        for rows in torch.arange(len(held)).split(_ROWS):
            part = held.take(rows).to(torch.float64)
            mass, value = experts.marginal(part)
            kernels = [kernel.log_prob(part, leave_out=place[rows]) for kernel in experts.every_kernel()]
            found.append(torch.stack([density(part).log_likelihood, *kernels, (mass + value).sum(-1)], -1))
    return torch.cat(found)


def _first(stream: Iterable[Records], count: int) -> Inputs | None:
    """The first records of a stream, at most `count`; None where there is none."""
    parts, seen = [], 0
    for records in stream:
        parts.append(records.inputs.take(slice(0, count - seen)))
        seen += len(parts[-1])
        if seen >= count:
            break
    return Inputs.join(parts) if seen else None
