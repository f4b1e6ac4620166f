"""One loop: maximum likelihood with AdamW, a warm-up and cosine schedule, early stopping on held-out likelihood.

The likelihood is a product of two densities that share no weights, that of the discrete part and that of the continuous
values given it, so each keeps the weights of the epoch that was best for it: the first may overfit long before the
second has learned.

Every epoch draws its randomness from (seed, epoch), so a run that was killed and resumed from its checkpoint ends with
the same bits as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from flowguard.density import RecordDensity
from flowguard.errors import TrainingError
from flowguard.training.average import Average, copied
from flowguard.training.checkpoint import load_checkpoint, save_checkpoint
from flowguard.training.settings import TrainingSettings
from flowguard.training.stream import Records, shuffled_batches
from flowguard.training.validation import choose_level

MASS_RATE = 5.0
Chunks = Callable[[int], Iterable[Records]]


@dataclass(frozen=True)
class Epoch:
    """One epoch: mean negative log-likelihood per record in nats, in the table's units.

    `validation_nll` = `validation_mass_nll` (the discrete part) + `validation_density_nll` (the continuous values).
    """

    epoch: int
    train_nll: float
    validation_nll: float
    validation_mass_nll: float
    validation_density_nll: float
    learning_rate: float
    rows: int
    skipped_steps: int
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """What training did; each part of the density (`mass`, `density`) holds the weights of its `best_epochs`.

    `validation_nll` is the mean negative log-likelihood per validation record with these weights.
    """

    history: tuple[Epoch, ...]
    best_epochs: dict[str, int]
    validation_nll: float
    stopped: str  # "patience", "epochs" or "nothing to learn"
    resumed_at: int | None


@dataclass(frozen=True)
class Best:
    """The best weights so far of one part of the density, its validation likelihood and its epoch."""

    nll: float
    epoch: int
    weights: dict[str, Tensor]


def train(
    density: RecordDensity,
    chunks: Chunks,
    *,
    validation: Callable[[], Iterable[Records]],
    rows: int,
    settings: TrainingSettings,
    device: torch.device,
    checkpoint: Path | None = None,
    run_key: str = "",
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_step: Callable[[int], None] = lambda records: None,
) -> TrainingResult:
    """Fit `density` in place and leave it with the weights that were best on the validation records.

    `chunks(epoch)` streams the training records of an epoch, `validation()` the held-out ones; `rows` is the number of
    training records (it sets the length of the schedule). With `checkpoint`, the state is written after every epoch
    and a run with the same `run_key` continues from it. Raises `TrainingError` when there is nothing to train on or
    when the likelihood does not stay finite.
    """
    if rows == 0:
        raise TrainingError(
            "No record is left to train on after the split, the excluded periods and the quarantine. "
            "Give more data, a longer split period, or larger split.train."
        )
    plan = settings.plan(rows)
    density.to(device)
    # Missing values are rare: where they are all there is to learn of the discrete part, the small network that does
    # sees little of them and takes longer steps.
    rates = {"mass": MASS_RATE if density.rare else 1.0, "density": 1.0}
    groups = [
        {"params": list(part.parameters()), "lr": settings.learning_rate * rates[name]}
        for name, part in density.parts().items()
        if any(True for _ in part.parameters())
    ]
    if not groups:
        # Columns of one value each: their probabilities are counted, and there is nothing to learn.
        nll = choose_level(density, validation, device=device)
        density.to("cpu").eval()
        return TrainingResult((), dict.fromkeys(nll, 0), sum(nll.values()), "nothing to learn", None)
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=plan.weight_decay)
    steps_per_epoch = math.ceil(rows / plan.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, _warm_up_then_cosine(steps_per_epoch * plan.epochs, steps_per_epoch)
    )
    average = Average(density)
    history: list[Epoch] = []
    parts = {name: Best(math.inf, 0, copied(part)) for name, part in density.parts().items()}
    resumed_at = None
    state = load_checkpoint(checkpoint, run_key=run_key, device=device) if checkpoint else None
    if state is not None:
        density.load_state_dict(state.weights)
        average.weights = state.average
        average.steps = state.steps
        optimizer.load_state_dict(state.optimizer)
        schedule.load_state_dict(state.schedule)
        history = [Epoch(**entry) for entry in state.history]
        parts = {name: Best(**best) for name, best in state.parts.items()}
        resumed_at = len(history) + 1

    stopped = "epochs"
    for number in range(len(history) + 1, plan.epochs + 1):
        if number - max(best.epoch for best in parts.values()) > plan.patience:
            stopped = "patience"
            break
        started = time.perf_counter()
        seed = settings.seed * 1_000_003 + number
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            batches = shuffled_batches(
                chunks(number),
                batch_size=plan.batch_size,
                buffer_rows=settings.buffer_rows,
                generator=generator,
            )
            train_nll, seen, skipped = _one_epoch(
                density,
                average,
                batches,
                optimizer,
                schedule,
                device=device,
                clip=settings.clip,
                on_step=on_step,
            )
        if seen == 0 or skipped * plan.batch_size > seen / 2:
            raise TrainingError(
                f"Training gave no finite gradient in {skipped} steps of epoch {number}. "
                "Try a smaller model.learning_rate, or model.transformer: affine."
            )
        with average.applied(density):
            nll = choose_level(density, validation, device=device)
            better = [name for name in parts if nll[name] < parts[name].nll]
            for name, part in density.parts().items():
                if name in better:
                    parts[name] = Best(nll[name], number, copied(part))
        epoch = Epoch(
            epoch=number,
            train_nll=train_nll,
            validation_nll=nll["mass"] + nll["density"],
            validation_mass_nll=nll["mass"],
            validation_density_nll=nll["density"],
            learning_rate=optimizer.param_groups[-1]["lr"],
            rows=seen,
            skipped_steps=skipped,
            seconds=time.perf_counter() - started,
        )
        history.append(epoch)
        if checkpoint is not None:
            save_checkpoint(
                checkpoint,
                run_key=run_key,
                weights=density.state_dict(),
                average=average.weights,
                steps=average.steps,
                parts={name: vars(best) for name, best in parts.items()},
                optimizer=optimizer.state_dict(),
                schedule=schedule.state_dict(),
                history=[asdict(entry) for entry in history],
            )
        on_epoch(epoch)
    if not all(math.isfinite(best.nll) for best in parts.values()):
        raise TrainingError(
            "The validation likelihood was never finite. Try a smaller model.learning_rate, "
            "or model.transformer: affine."
        )
    for name, part in density.parts().items():
        part.load_state_dict(parts[name].weights)
    density.to("cpu").eval()
    return TrainingResult(
        history=tuple(history),
        best_epochs={name: best.epoch for name, best in parts.items()},
        validation_nll=sum(best.nll for best in parts.values()),
        stopped=stopped,
        resumed_at=resumed_at,
    )


def _one_epoch(
    density: RecordDensity,
    average: Average,
    batches: Iterable[Records],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    *,
    device: torch.device,
    clip: float,
    on_step: Callable[[int], None],
) -> tuple[float, int, int]:
    density.train()
    total = torch.zeros((), dtype=torch.float64)
    seen = skipped = 0
    for records in batches:
        records = records.to(device)
        terms = density(records.inputs)
        optimizer.zero_grad(set_to_none=True)
        each = -(terms.log_mass + terms.log_density)
        each.mean().backward()
        # Each part by itself: a rough step of one must not hold the other back.
        norms = [nn.utils.clip_grad_norm_(group["params"], clip) for group in optimizer.param_groups]
        if all(bool(torch.isfinite(norm)) for norm in norms):
            optimizer.step()
            average.update(density)
            total += (each.detach().double() - records.log_det.double().sum(-1)).sum().cpu()
            seen += len(records)
        else:
            skipped += 1
        schedule.step()
        on_step(len(records))
    return (float(total) / seen if seen else math.nan), seen, skipped


def _warm_up_then_cosine(total_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    warm_up = max(1, min(steps_per_epoch, total_steps // 10))

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        progress = min(1.0, (step - warm_up) / max(1, total_steps - warm_up))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))

    return factor
