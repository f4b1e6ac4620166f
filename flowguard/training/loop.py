"""One loop: maximum likelihood with AdamW, a warm-up and cosine schedule, early stopping on held-out likelihood.

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
from flowguard.training.checkpoint import load_checkpoint, save_checkpoint
from flowguard.training.stream import Records, shuffled_batches

Chunks = Callable[[int], Iterable[Records]]


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. `patience` counts epochs without a better validation likelihood; `clip` bounds the gradient's norm."""

    epochs: int = 40
    batch_size: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    patience: int = 6
    clip: float = 5.0
    seed: int = 0
    buffer_rows: int = 262_144


@dataclass(frozen=True)
class Epoch:
    """One epoch: mean negative log-likelihood per record in nats, in the table's units."""

    epoch: int
    train_nll: float
    validation_nll: float
    learning_rate: float
    rows: int
    skipped_steps: int
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """What training did; the density holds the weights of `best_epoch`."""

    history: tuple[Epoch, ...]
    best_epoch: int
    stopped: str  # "patience" or "epochs"
    resumed_at: int | None


def negative_log_likelihood(density: nn.Module, records: Records) -> Tensor:
    """-log p(observed features, mask | context) per record, without the encoder's part; shape (n,)."""
    terms = density(records.x, records.observed, records.context, records.codes)
    return -(terms.log_mass + terms.log_density)


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
    density.to(device)
    optimizer = torch.optim.AdamW(
        density.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps_per_epoch = math.ceil(rows / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, _warm_up_then_cosine(steps_per_epoch * settings.epochs, steps_per_epoch)
    )
    history: list[Epoch] = []
    best = (math.inf, 0)
    best_weights = _copy(density)
    resumed_at = None
    state = load_checkpoint(checkpoint, run_key=run_key, device=device) if checkpoint else None
    if state is not None:
        density.load_state_dict(state.weights)
        optimizer.load_state_dict(state.optimizer)
        schedule.load_state_dict(state.schedule)
        history = [Epoch(**entry) for entry in state.history]
        best, best_weights = (state.best_nll, state.best_epoch), state.best_weights
        resumed_at = len(history) + 1

    stopped = "epochs"
    for number in range(len(history) + 1, settings.epochs + 1):
        if number - best[1] > settings.patience:
            stopped = "patience"
            break
        started = time.perf_counter()
        seed = settings.seed * 1_000_003 + number
        generator = torch.Generator().manual_seed(seed)
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            batches = shuffled_batches(
                chunks(number),
                batch_size=settings.batch_size,
                buffer_rows=settings.buffer_rows,
                generator=generator,
            )
            train_nll, seen, skipped = _one_epoch(
                density, batches, optimizer, schedule, device=device, clip=settings.clip, on_step=on_step
            )
        if seen == 0 or skipped * settings.batch_size > seen / 2:
            raise TrainingError(
                f"Training gave no finite gradient in {skipped} steps of epoch {number}. "
                "Try a smaller model.learning_rate, or model.transformer: affine."
            )
        validation_nll = mean_nll(density, validation(), device=device)
        if math.isnan(validation_nll):
            validation_nll = math.inf
        epoch = Epoch(
            epoch=number,
            train_nll=train_nll,
            validation_nll=validation_nll,
            learning_rate=optimizer.param_groups[0]["lr"],
            rows=seen,
            skipped_steps=skipped,
            seconds=time.perf_counter() - started,
        )
        history.append(epoch)
        if validation_nll < best[0]:
            best, best_weights = (validation_nll, number), _copy(density)
        if checkpoint is not None:
            save_checkpoint(
                checkpoint,
                run_key=run_key,
                weights=density.state_dict(),
                best_weights=best_weights,
                optimizer=optimizer.state_dict(),
                schedule=schedule.state_dict(),
                history=[asdict(entry) for entry in history],
                best_nll=best[0],
                best_epoch=best[1],
            )
        on_epoch(epoch)
    if not math.isfinite(best[0]):
        raise TrainingError(
            "The validation likelihood was never finite. Try a smaller model.learning_rate, "
            "or model.transformer: affine."
        )
    density.load_state_dict(best_weights)
    density.to("cpu").eval()
    return TrainingResult(tuple(history), best[1], stopped, resumed_at)


def _one_epoch(
    density: nn.Module,
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
        nll = negative_log_likelihood(density, records)
        optimizer.zero_grad(set_to_none=True)
        nll.mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(density.parameters(), clip)
        if torch.isfinite(norm):
            optimizer.step()
            total += (nll.detach().double() - records.log_det.double()).sum().cpu()
            seen += len(records)
        else:
            skipped += 1
        schedule.step()
        on_step(len(records))
    return (float(total) / seen if seen else math.nan), seen, skipped


@torch.no_grad()
def mean_nll(density: nn.Module, chunks: Iterable[Records], *, device: torch.device) -> float:
    """Mean negative log-likelihood per record in the table's units, summed in float64; inf when there is no record."""
    density.eval()
    total, count = 0.0, 0
    for chunk in chunks:
        for start in range(0, len(chunk), 8192):
            records = chunk.take(slice(start, start + 8192)).to(device)
            nll = negative_log_likelihood(density, records)
            total += float((nll.double() - records.log_det.double()).sum())
            count += len(records)
    return total / count if count else math.inf


def _warm_up_then_cosine(total_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    warm_up = max(1, min(steps_per_epoch, total_steps // 10))

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        progress = min(1.0, (step - warm_up) / max(1, total_steps - warm_up))
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def _copy(density: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in density.state_dict().items()}
