"""What reasons cost: seconds to explain 1,000 records of 20 numbers, by model.

    python benchmarks/reasons_speed.py

About five minutes of two cores. Of 5,000 correlated rows a detector is fitted (its fit and the calibration of its
ranges are not in the seconds); in each of 1,000 fresh rows one number is altered, and all are explained with three
reasons and their ranges, three times. The median counts.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
from detection_progress import steps
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from flowguard import FlowDetector

GOAL = 10.0  # seconds of two cores
ROWS, COLUMNS, EPOCHS = 5_000, 20, 5
MODELS: dict[str, dict[str, Any] | None] = {
    "two affine orders": {"kernel": 0},
    "three spline layers, a pipeline's default": {"kernel": 0, "transformer": "spline", "orders": 1, "layers": 3},
    "FlowDetector's default, with kernel densities": None,
}


def main() -> None:
    """Fit, alter, explain, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(COLUMNS, COLUMNS)) / np.sqrt(COLUMNS)
    X = rows(rng, mix, ROWS)
    altered = rows(rng, mix, options.records)
    altered[np.arange(options.records), rng.integers(0, COLUMNS, options.records)] += 8.0
    console = Console(width=120)
    table = Table(
        title=f"Seconds to explain {options.records:,} records of {COLUMNS} numbers", title_justify="left", box=None
    )
    for name in ("model", "wall", "of all threads", f"within {GOAL:.0f} s"):
        table.add_column(name, justify="left" if name == "model" else "right")
    with steps(console, len(MODELS)) as step:
        for name, model in MODELS.items():
            step(name)
            wall, spent = explained(X, altered, model, options.repeats)
            table.add_row(name, f"{wall:.1f}", f"{spent:.1f}", "yes" if wall < GOAL else "no")
    console.print(table)


def rows(rng: np.random.Generator, mix: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Rows whose columns depend on each other."""
    return rng.normal(size=(n, COLUMNS)) @ mix + 0.3 * rng.normal(size=(n, COLUMNS))


def explained(
    X: NDArray[np.float64], altered: NDArray[np.float64], model: dict[str, Any] | None, repeats: int
) -> tuple[float, float]:
    """The medians of the seconds on the clock and of all threads."""
    detector = FlowDetector(random_state=0, model=model, training={"epochs": EPOCHS}).fit(X)
    detector.explain(altered[:2])  # the first call calibrates the ranges
    wall, spent = [], []
    for _ in range(repeats):
        began, worked = time.perf_counter(), time.process_time()
        detector.explain(altered)
        wall.append(time.perf_counter() - began)
        spent.append(time.process_time() - worked)
    return float(np.median(wall)), float(np.median(spent))


if __name__ == "__main__":
    main()
