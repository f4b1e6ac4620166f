"""The likelihood of held-out records, which decides when training stops and which weights are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch

from flowguard.density import NoiseLevel, RecordDensity
from flowguard.errors import TrainingError
from flowguard.training.stream import Records
from flowguard.training.trimming import excesses, kept, usual_log_det

ROWS = 8192


@torch.no_grad()
def mean_nll(
    density: RecordDensity, chunks: Iterable[Records], *, device: torch.device, contamination: float = 0.0
) -> dict[str, float]:
    """Mean negative log-likelihood per record of each part in the table's units; inf when it is NaN.

    Summed in float64; the encoder's log-determinant belongs to the part `density`. A share `contamination` of the
    records is left out of each part, those that fit it worst: two numbers per record are then held until the end.

    Errors: TrainingError without a record.
    """
    density.eval()
    totals, count = {"mass": 0.0, "density": 0.0}, 0
    held: dict[str, list[torch.Tensor]] = {f"{kind} {part}": [] for part in totals for kind in ("nll", "excess")}
    usual: torch.Tensor | None = None
    for chunk in chunks:
        for start in range(0, len(chunk), ROWS):
            records = chunk.take(slice(start, start + ROWS)).to(device)
            terms = density(records.inputs)
            nll = {
                "mass": -terms.log_mass.double(),
                "density": -(terms.log_density.double() + records.log_det.double().sum(-1)),
            }
            count += len(records)
            if not contamination:
                for part, values in nll.items():
                    totals[part] += float(values.sum())
                continue
            # Records compare only with what is usual for all of them: the first ones tell.
            usual = usual_log_det(density, records) if usual is None else usual
            for part, excess in excesses(density, records, terms, usual=usual).items():
                held[f"nll {part}"].append(nll[part].cpu())
                held[f"excess {part}"].append(excess.cpu())
    if not count:
        raise TrainingError(
            "No record is left to validate on after the split, the excluded periods and the quarantine, so nothing "
            "says when to stop training. Give more data or a larger split.validation."
        )
    means = {part: total / count for part, total in totals.items()}
    if contamination:
        for part in means:
            stay = kept(torch.cat(held[f"excess {part}"]), contamination)
            means[part] = float(torch.cat(held[f"nll {part}"])[stay].mean())
    return {part: math.inf if math.isnan(mean) else mean for part, mean in means.items()}


def choose_level(
    density: RecordDensity,
    validation: Callable[[], Iterable[Records]],
    *,
    device: torch.device,
    contamination: float = 0.0,
) -> dict[str, float]:
    """`mean_nll` at the level of noise that suits the held-out records best, at which `density` is read from now on.

    Without `noise` there is nothing to choose. The records themselves are left as they are.
    """

    def found() -> dict[str, float]:
        return mean_nll(density, validation(), device=device, contamination=contamination)

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
