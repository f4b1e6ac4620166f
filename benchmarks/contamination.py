"""What planted anomalies in the training rows cost, with `model.contamination` and without it; and what it costs if
the rows are clean.

    OMP_NUM_THREADS=1 python benchmarks/contamination.py
    OMP_NUM_THREADS=1 python benchmarks/contamination.py --tables 6_cardio,38_thyroid --seeds 3

Trains on half of the normal rows, at most `--rows` of them, to which anomalies are added until they are `--planted`
of all; tests on the other half and on the anomalies that were not planted. No label is seen in training. flowguard gets
the raw numbers, and a tenth of its rows to stop early and a fifth to calibrate, planted ones among them; the others get
the same rows, standardised. Figures are AUROC, from the same test rows throughout.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from flowguard.detector import Columns, Engine, calibrate, fit, hold
from flowguard.encoding import FeatureSettings
from flowguard.training import TrainingSettings

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
TABLES = "6_cardio,23_mammography,27_PageBlocks,32_shuttle,38_thyroid"
TESTED = 20_000
NEIGHBOURS = 20
SEARCH = 5

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(training rows, test rows) -> scores of the test rows, higher = stranger."""


@dataclass(frozen=True)
class Split:
    """Training rows without and with planted anomalies, and the test rows with their labels."""

    clean: np.ndarray
    dirty: np.ndarray
    test: np.ndarray
    label: np.ndarray


def split(path: Path, *, rows: int, planted: float, seed: int) -> Split:
    """The rows of one table, dealt out at random."""
    rng = np.random.default_rng(seed)
    with np.load(path) as arrays:
        x, y = arrays["X"].astype(np.float64), arrays["y"].ravel()
    order = rng.permutation(len(x))[:50_000]
    x, y = x[order], y[order]
    normal, strange = x[y == 0], x[y == 1]
    half = len(normal) // 2
    clean = normal[: min(half, rows)]
    # Half of the anomalies stay for the test, however few there are.
    count = min(round(len(clean) * planted / (1 - planted)), len(strange) // 2)
    dirty = np.concatenate([clean, strange[:count]])
    test = np.concatenate([normal[half:], strange[count:]])
    label = np.concatenate([np.zeros(len(normal) - half), np.ones(len(strange) - count)])
    chosen = rng.permutation(len(test))[:TESTED]
    return Split(rng.permutation(clean), rng.permutation(dirty), test[chosen], label[chosen])


def flowguard(contamination: float, *, seed: int) -> Scorer:
    """A detector of default settings, sized by its rows and columns, with its default score."""

    def score(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        names = [f"x{column}" for column in range(train.shape[1])]

        def batch(rows: np.ndarray) -> pa.RecordBatch:
            return pa.record_batch([pa.array(column) for column in rows.T], names=names)

        tenth = len(train) // 10
        held, early, rest = np.split(train, [2 * tenth, 3 * tenth])
        detector, _ = fit(
            lambda: [batch(rest)],
            lambda: [batch(early)],
            columns=Columns(
                features={name: FeatureSettings() for name in names}, context={}, types=dict.fromkeys(names, "double")
            ),
            architecture={"family": "maf", "hidden": None, "dropout": None, "noise": None},
            settings=TrainingSettings(contamination=contamination, seed=seed),
            engine=Engine(),
            device=torch.device("cpu"),
            threads=torch.get_num_threads(),
        )
        calibrated = calibrate(detector, hold(detector, [(batch(held), np.arange(len(held)))]), false_alarm_rate=0.05)
        return calibrated.score(batch(test)).score

    return score


def standardised(score: Scorer) -> Scorer:
    """The same on columns of mean 0 and deviation 1 in the training rows."""

    def scored(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        centre, scale = train.mean(0), train.std(0)
        scale[scale == 0] = 1.0
        return score((train - centre) / scale, (test - centre) / scale)

    return scored


def peers(seed: int) -> dict[str, Scorer]:
    """Three of scikit-learn."""

    def forest(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return -IsolationForest(random_state=seed).fit(train).score_samples(test)

    def local(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return -LocalOutlierFactor(n_neighbors=NEIGHBOURS, novelty=True).fit(train).score_samples(test)

    def nearest(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        return NearestNeighbors(n_neighbors=SEARCH).fit(train).kneighbors(test)[0][:, -1]

    named = {"IsolationForest": forest, f"LOF ({NEIGHBOURS})": local, f"{SEARCH}th neighbour": nearest}
    return {name: standardised(scorer) for name, scorer in named.items()}


def measured(path: Path, args: argparse.Namespace, on_step: Callable[[str], None]) -> dict[str, list[float]]:
    """AUROC on clean and on dirty training rows, by detector; the mean over seeds."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(args.seeds):
        rows = split(path, rows=args.rows, planted=args.planted, seed=seed)
        scorers = {
            "flowguard": flowguard(0.0, seed=seed),
            f"flowguard, {args.planted:g}": flowguard(args.planted, seed=seed),
            **peers(seed),
        }
        for name, scorer in scorers.items():
            on_step(f"{path.stem}, seed {seed}: {name}")
            each = [float(roc_auc_score(rows.label, scorer(train, rows.test))) for train in (rows.clean, rows.dirty)]
            found.setdefault(name, []).append(each)
    return {name: list(np.mean(each, axis=0)) for name, each in found.items()}


def table(results: dict[str, dict[str, list[float]]], args: argparse.Namespace) -> Table:
    """Two lines per data set: clean above dirty."""
    made = Table(
        title=f"AUROC, {args.rows:,} training rows at most: clean rows above, {args.planted:.0%} planted below",
        caption=f"`flowguard, {args.planted:g}` has model.contamination: {args.planted:g}. {args.seeds} seed(s).",
    )
    made.add_column("table", no_wrap=True)
    made.show_lines = True
    names = list(next(iter(results.values())))
    for name in names:
        made.add_column(name, justify="right")
    for stem, found in results.items():
        made.add_row(stem, *(_cell(*found[name]) for name in names))
    made.add_section()
    made.add_row("mean", *(_cell(*np.mean([found[name] for found in results.values()], axis=0)) for name in names))
    return made


def _cell(clean: float, dirty: float) -> str:
    return f"{clean:.3f}\n{dirty:.3f}"


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with adbench/ (default: ../shared/data)")
    parser.add_argument("--tables", default=TABLES, help=f"names of files, comma-separated (default: {TABLES})")
    parser.add_argument("--seeds", type=int, default=1, help="how many splits (default: 1)")
    parser.add_argument("--rows", type=int, default=4000, help="training rows at most (default: 4000)")
    parser.add_argument("--planted", type=float, default=0.05, help="share of anomalies to plant (default: 0.05)")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    # LOF warns of duplicates on every table that has some.
    warnings.filterwarnings("ignore", message="Duplicate values", category=UserWarning)
    console = Console()
    paths = [args.data / "adbench" / f"{name.strip()}.npz" for name in args.tables.split(",")]
    for path in paths:
        if not path.exists():
            console.print(f"Skipped {path.stem}: there is no {path}. Name the data's folder with --data.")
    paths = [path for path in paths if path.exists()]
    if not paths:
        return
    results = {}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=len(paths) * args.seeds * 5)
        for path in paths:

            def step(text: str) -> None:
                progress.update(task, description=text, advance=1)

            results[path.stem] = measured(path, args, step)
    console.print(table(results, args))
    clean, dirty = np.mean([[found[name] for name in list(found)[:2]] for found in results.values()], axis=0).T.tolist()
    console.print(
        f"flowguard loses {clean[0] - dirty[0]:+.3f} to planted anomalies without the option, "
        f"{clean[0] - dirty[1]:+.3f} with it; on clean rows the option costs {clean[0] - clean[1]:+.3f}."
    )


if __name__ == "__main__":
    main()
