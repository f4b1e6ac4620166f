"""Log-likelihoods of every density, beside zuko's and a full Gaussian, on MINIBOONE; and a gallery of 2-D densities.

    OMP_NUM_THREADS=1 python benchmarks/density.py --budget 60
    OMP_NUM_THREADS=1 python benchmarks/density.py --gallery docs/pictures/densities.png --budget 15

Every model gets the same seconds of training in the same loop, on the same threads, and is stopped early on a random
tenth of the training rows. Test rows are read once, at the end.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from density_gallery import gallery
from density_models import SETTINGS, built, chosen, fit, registered, zuko_models
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor, nn

from flowguard.density import Inputs, StepError, step_error
from flowguard.errors import FlowguardError

DATA = Path(__file__).resolve().parents[1] / "../shared/data"


@dataclass(frozen=True)
class Row:
    """One line of the table, log-likelihoods in nats per record."""

    model: str
    parameters: int
    epochs: str
    seconds: float
    validation: float
    test: float
    error: float
    solver: StepError | None = None


def gaussian(x: Tensor, test: Tensor) -> Row:
    """The full-covariance Gaussian of maximum likelihood, on all training rows: it has nothing to stop early."""
    exact = x.double()
    normal = torch.distributions.MultivariateNormal(exact.mean(0), torch.cov(exact.T, correction=0))
    nats = normal.log_prob(test.double())
    d = x.shape[1]
    return Row("full Gaussian", d + d * (d + 1) // 2, "-", 0.0, float("nan"), *_mean(nats))


def miniboone(folder: Path, args: argparse.Namespace, progress: Progress, console: Console) -> list[Row]:
    """Train on val.npy, test on test.npy, as there is no train.npy (see the data's README)."""
    x, test = (torch.from_numpy(np.load(folder / f"{part}.npy")).float() for part in ("val", "test"))
    shuffled = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(args.seed))]
    held_out, train = shuffled[: len(x) // 10], shuffled[len(x) // 10 :]
    columns = x.shape[1]
    models: dict[str, Callable[[], nn.Module]] = {
        name: partial(built, config, columns, len(train), seed=args.seed)
        for name, config in registered(args.families).items()
    }
    models |= {n: make for n, make in zuko_models(columns, seed=args.seed).items() if chosen(n, args.families)}
    rows = [gaussian(x, test)] if chosen("full Gaussian", args.families) else []
    for name, make in models.items():
        task = progress.add_task(name, total=None, epochs="")
        try:
            trained = fit(
                make, train, held_out, budget=args.budget, seed=args.seed, on_epoch=partial(_show, progress, task)
            )
        except FlowguardError as error:
            console.print(f"{name}: not trained. {error}")
            continue
        finally:
            progress.remove_task(task)
        solver = None
        if name == "continuous":
            solver = step_error(trained.density.float(), Inputs.plain(test))
        best = trained.result.best_epochs["density"]
        count = sum(parameter.numel() for parameter in trained.density.parameters())
        epochs = f"{best} of {len(trained.result.history)}"
        nats = _mean(trained.log_density(test))
        rows.append(Row(name, count, epochs, trained.seconds, -trained.result.validation_nll, *nats, solver))
        console.print(f"{name}: {nats[0]:.2f} ± {nats[1]:.2f} nats on test")
    return rows


def table(rows: list[Row], args: argparse.Namespace) -> Table:
    """Best first."""
    made = Table(title=f"MINIBOONE val -> test, {args.budget:g} s each, seed {args.seed}, {_threads()}")
    made.add_column("density", no_wrap=True)
    for name in ("parameters", "best epoch", "seconds", "validation", "test nats", "± s.e."):
        made.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: -row.test):
        made.add_row(
            row.model,
            f"{row.parameters:,}",
            row.epochs,
            f"{row.seconds:.0f}",
            "-" if np.isnan(row.validation) else f"{row.validation:.2f}",
            f"{row.test:.2f}",
            f"{row.error:.2f}",
        )
    return made


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with miniboone/ (default: ../shared/data)")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of training per model (default: 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", help="only these, comma-separated: maf, realnvp, continuous, zuko, 'maf spline'")
    parser.add_argument("--gallery", type=Path, help="draw the 2-D classics to this picture instead")
    args = parser.parse_args()
    args.families = [name.strip() for name in args.families.split(",")] if args.families else None
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[epochs]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        if args.gallery:
            task = progress.add_task("", total=None, epochs="")

            def show(title: str, done: int, total: int) -> None:
                progress.update(task, description=title)
                _show(progress, task, done, total)

            found = gallery(args.gallery, registered(args.families), budget=args.budget, seed=args.seed, progress=show)
            for name, model, mean, error in found:
                console.print(f"{name:13} {model:24} {mean:7.3f} ± {error:.3f} nats held out")
            console.print(f"wrote {args.gallery}")
            return
        folder = args.data / "miniboone"
        if not (folder / "test.npy").exists():
            console.print(f"Skipped MINIBOONE: {folder} has no val.npy and test.npy. Name their folder with --data.")
            return
        rows = miniboone(folder, args, progress, console)
    console.print(table(rows, args))
    console.print(
        f"All by flowguard's loop: batches of {SETTINGS.batch_size}, patience {SETTINGS.patience}, a tenth of the "
        "training rows held out to stop early; the Gaussian takes all rows."
    )
    for row in rows:
        if row.solver is not None:
            console.print(
                f"continuous: {row.solver.steps} steps against twice as many change a test record's log-density by "
                f"{row.solver.mean:.2g} on average, {row.solver.largest:.2g} at most."
            )


def _show(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total, epochs=f"epoch {done} of {total}")


def _mean(nats: Tensor) -> tuple[float, float]:
    return float(nats.mean()), float(nats.std() / len(nats) ** 0.5)


def _threads() -> str:
    n = torch.get_num_threads()
    return f"{n} thread{'s' if n > 1 else ''}"


if __name__ == "__main__":
    main()
