"""What FlowDetector costs as it comes: operations and rows a second on 16 columns, and the minutes of a large fit.

    OMP_NUM_THREADS=2 python benchmarks/cost.py
    OMP_NUM_THREADS=1 python benchmarks/cost.py --rows 2000 --columns 20
    python benchmarks/cost.py --device cuda

Operations are those of the products of matrices in one score, all experts and column orders together, a multiplication
and an addition counting as two (torch counts them; what is added beside products is not in it). Rows a second are those
of `score_samples`, encoding and calibration included, beside scikit-learn's isolation forest of 100 trees on the same
rows, in turn; the ratio is the median of the rounds. The fit is of `--rows` by `--columns` made numbers; one on another
device than the CPU is made on the CPU too, and the flags of both on fresh rows are compared.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import IsolationForest
from torch.utils.flop_counter import FlopCounterMode

from flowguard import FlowDetector
from flowguard.detector.evaluate import tiles

COLUMNS, TRAINED, SCORED = 16, 5000, 8192


def made(rows: int, columns: int, *, seed: int) -> np.ndarray:
    """Numbers in three clusters, with dependence that bends."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, 2, (3, columns))[rng.integers(0, 3, rows)]
    values = centre + rng.normal(size=(rows, columns)) @ rng.normal(0, columns**-0.5, (columns, columns))
    values[:, 1::2] += 0.5 * values[:, ::2][:, : values[:, 1::2].shape[1]] ** 2
    return values


def operations(detector: FlowDetector, records: np.ndarray) -> float:
    """Operations per record of the products in one tile."""
    inner = detector.detector_
    encoded = inner.encode(detector._batch(records))
    _, inputs = next(tiles(encoded, inner.engine.tile))
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        inner.density(inputs, by_column=False)
    return counter.get_total_flops() / len(inputs)


def rates(contenders: list[Callable[[], object]], *, rounds: int, rows: int) -> np.ndarray:
    """Rows a second of each contender, in turn, `(rounds, contenders)`."""
    found = []
    for _ in range(rounds):
        found.append([])
        for run in contenders:
            began = time.perf_counter()
            run()
            found[-1].append(rows / (time.perf_counter() - began))
    return np.array(found)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=25_000, help="rows of the large fit (default: 25,000)")
    parser.add_argument("--columns", type=int, default=100, help="its columns (default: 100)")
    parser.add_argument("--threads", type=int, default=2, help="threads of the large fit (default: 2)")
    parser.add_argument("--device", default="cpu", help="where the large fit is trained (default: cpu)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of scoring (default: 5)")
    args = parser.parse_args()
    console = Console()
    warnings.simplefilter("ignore")
    with console.status("Fitting 16 columns ..."):
        records, more = made(TRAINED, COLUMNS, seed=0), made(SCORED, COLUMNS, seed=1)
        detector = FlowDetector(random_state=0).fit(records)
        flow = FlowDetector(random_state=0, model={"kernel": 0}).fit(records)
        forest = IsolationForest(n_estimators=100, random_state=0).fit(records)
    with console.status("Scoring ..."):
        scorers = [lambda one=one: one.score_samples(more) for one in (detector, flow, forest)]
        rates(scorers, rounds=1, rows=SCORED)
        found = rates(scorers, rounds=args.rounds, rows=SCORED)
    table = Table(title=f"Scoring {SCORED:,} rows of {COLUMNS} columns", title_justify="left", box=None, padding=(0, 1))
    table.add_column("detector", no_wrap=True)
    for name in ("operations per record", "rows/s", "of the forest's"):
        table.add_column(name, justify="right")
    counted = [f"{operations(one, more):,.0f}" for one in (detector, flow)] + ["-"]
    for place, name in enumerate(("flowguard", "flowguard, kernel=0", "IsolationForest")):
        rate, ratio = np.median(found[:, place]), np.median(found[:, place] / found[:, 2])
        table.add_row(name, counted[place], f"{rate:,.0f}", f"{ratio:.2f}")
    console.print(table)
    large, fresh = made(args.rows, args.columns, seed=2), made(SCORED, args.columns, seed=3)
    flags = []
    for device in dict.fromkeys((args.device, "cpu")):
        with console.status(f"Fitting {args.rows:,} x {args.columns} on {device} ..."):
            began = time.perf_counter()
            fitted = FlowDetector(random_state=0, threads=args.threads, device=device).fit(large)
            seconds = time.perf_counter() - began
        told = f"{seconds:.0f} s, {fitted.n_iter_} epochs"
        console.print(f"\nFit of {args.rows:,} x {args.columns} on {device} with {args.threads} thread(s): {told}")
        flags.append(fitted.predict(fresh))
    if len(flags) > 1:
        console.print(f"Of {SCORED:,} fresh rows {(flags[0] == flags[1]).mean():.2%} get the same flag from both fits.")


if __name__ == "__main__":
    main()
