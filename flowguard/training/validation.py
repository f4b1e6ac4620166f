"""The likelihood of held-out records, which decides when training stops and which weights are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch

from flowguard.density import NoiseLevel, RecordDensity
from flowguard.errors import TrainingError
from flowguard.training.stream import Records

ROWS = 8192


@torch.no_grad()
def mean_nll(density: RecordDensity, chunks: Iterable[Records], *, device: torch.device) -> dict[str, float]:
    """Mean negative log-likelihood per record of each part in the table's units; inf when it is NaN.

    Summed in float64; the encoder's log-determinant belongs to the part `density`.

    Errors: TrainingError without a record.
    """
    density.eval()
    totals, count = {"mass": 0.0, "density": 0.0}, 0
    for chunk in chunks:
        for start in range(0, len(chunk), ROWS):
            records = chunk.take(slice(start, start + ROWS)).to(device)
            terms = density(records.inputs)
            nll = {
                "mass": -terms.log_mass.double(),
                "density": -(terms.log_density.double() + records.log_det.double().sum(-1)),
            }
            count += len(records)
            for part, values in nll.items():
                totals[part] += float(values.sum())
    if not count:
        raise TrainingError(
            "No record is left to validate on after the split, the excluded periods and the quarantine, so nothing "
            "says when to stop training. Give more data or a larger split.validation."
        )
    means = {part: total / count for part, total in totals.items()}
    return {part: math.inf if math.isnan(mean) else mean for part, mean in means.items()}


def choose_level(
    density: RecordDensity, validation: Callable[[], Iterable[Records]], *, device: torch.device
) -> dict[str, float]:
    """`mean_nll` at the level of noise that suits the held-out records best, at which `density` is read from now on.

    Without `noise` there is nothing to choose. The records themselves are left as they are.
    """

    def found() -> dict[str, float]:
        return mean_nll(density, validation(), device=device)

    noise = next((part for part in density.modules() if isinstance(part, NoiseLevel)), None)
    if noise is None:
        return found()
    each = {}
    for level in noise.candidates:
        noise.level.fill_(level)
        each[level] = found()
    best = min(each, key=lambda level: each[level]["density"])
    noise.level.fill_(best)
    return each[best]
