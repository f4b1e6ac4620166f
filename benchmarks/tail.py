"""How wrong can p-values be that a tail model gives? Levels below 1 / (n + 1), where the truth is known.

    OMP_NUM_THREADS=1 python benchmarks/tail.py

About a minute of one core. Each run draws n calibration scores, fits the tail, and asks for the threshold of a level a
tenth and a hundredth of 1 / (n + 1); the distribution itself says how often an ordinary record really lies above it. As
a multiple of the level asked for, over runs: the mean, which is what many versions come to, and the 5 % and 95 % of
single versions.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from flowguard.calibration import Tail

KNOWN: dict[str, Any] = {
    "bounded (uniform)": stats.uniform(),
    "normal": stats.norm(),
    "exponential": stats.expon(),
    "heavy (Pareto, shape 0.3)": stats.genpareto(0.3),
}
SIZES, BELOW = (200, 1000, 5000), (10, 100)


def rates(name: str, n: int, runs: int) -> np.ndarray:
    """Real over asked rate of each run at the levels 1 / (below (n + 1)), (runs, levels)."""
    levels = [1 / (below * (n + 1)) for below in BELOW]
    drawn = (KNOWN[name].rvs(n, random_state=np.random.default_rng([seed, n])) for seed in range(runs))
    tails = [Tail.fit(scores) for scores in drawn]
    return np.array([[KNOWN[name].sf(tail.threshold_at(level)) / level for level in levels] for tail in tails])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    table = Table(title=f"Real over asked rate, {runs} runs: mean (5 % to 95 %)")
    for column in ("scores", "n", *(f"1 / {below} (n + 1)" for below in BELOW)):
        table.add_column(column)
    for name in KNOWN:
        for n in SIZES:
            found = rates(name, n, runs).T
            spread = [np.quantile(one, [0.05, 0.95]) for one in found]
            cells = [f"{one.mean():.2f} ({low:.2f} to {high:.2f})" for one, (low, high) in zip(found, spread)]
            table.add_row(name, f"{n:,}", *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
