"""What anomalies among the training rows cost, with `contamination` and without it; what it costs where there are none.

    OMP_NUM_THREADS=1 python benchmarks/contamination.py
    OMP_NUM_THREADS=1 python benchmarks/contamination.py --tables cardio,thyroid --seeds 0

Trains on at most `--rows` of a random half of the normal rows, to which anomalies are added until they are 0, 1, 5 and
10 % of all; tests on the other half and on half of the anomalies, which are the same at every level. No label is seen
in training. Of tables with few anomalies fewer normal rows are taken, so that there are enough to plant. flowguard
stands there as it comes, told the planted share, and told 10 % throughout, as who does not know it might; the others
are told nothing, and get the rows standardised. Figures are AUROC, percent, means over tables and seeds.

Each fit is a process of its own, on one thread, ended after `--limit` seconds. Results are kept in `--results` as those
of detection.py are, and a run that was ended goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from detection import WIDTH, seeds
from detection_peers import Failed, Fit, Method, OverLimit, figures, limited, methods, prepare, scored, settings
from detection_progress import steps
from detection_tables import ROWS, Figures, Outcome, keep, kept, named, place, tables
from rich.console import Console
from rich.table import Table

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
RESULTS = Path(__file__).resolve().parents[1] / "runs/contamination"
TABLES = "cardio,mammography,PageBlocks,shuttle,thyroid"
PEERS = ("KNN", "LOF", "IsolationForest", "GMM")
LEVELS = (0.0, 0.01, 0.05, 0.1)
GUESS = 0.1
TESTED = 20_000


# -- rows --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planted:
    """Training rows, `count` of them planted anomalies, and test rows with their labels (True = anomaly)."""

    train: np.ndarray
    count: int
    test: np.ndarray
    label: np.ndarray


def plant(path: Path, *, share: float, rows: int, seed: int) -> Planted:
    """The rows of one table, dealt out at random: the normal training rows and the test rows do not depend on `share`.

    Errors: ValueError for a table with fewer than 2 anomalies or too few rows to plant at the greatest level.
    """
    rng = np.random.default_rng(seed)
    with np.load(path) as arrays:
        x, y = arrays["X"], arrays["y"].ravel()
    order = rng.permutation(len(x))[:ROWS]
    x, y = x[order], y[order]
    normal, strange = x[y == 0], x[y == 1]
    half, spare = len(normal) // 2, len(strange) // 2
    clean = min(half, rows, int(spare * (1 - LEVELS[-1]) / LEVELS[-1]))
    if clean < 2:
        raise ValueError(f"{path.name} has {len(normal)} normal rows and {len(strange)} anomalies: too few to plant.")
    count = round(clean * share / (1 - share))
    test = np.concatenate([normal[half:], strange[spare:]])
    label = np.arange(len(test)) >= len(normal) - half
    chosen = rng.permutation(len(test))[:TESTED]
    train = np.concatenate([normal[:clean], strange[:count]])
    return Planted(rng.permutation(train), count, test[chosen], label[chosen])


# -- detectors ---------------------------------------------------------------------------------------------------------


def lines(share: float) -> dict[str, Method]:
    """The detector of each line of the table at one level; lines with the same settings have the same detector."""
    told = {"flowguard": 0.0, "flowguard, told the share": share, f"flowguard, told {GUESS:.0%}": GUESS}
    found = {line: _flowguard(contamination) for line, contamination in told.items()}
    return found | {one.name: one for one in methods() if one.name in PEERS}


def _flowguard(contamination: float) -> Method:
    given = {"contamination": contamination}
    fit: Fit = partial(_fit, **given)
    return Method(f"flowguard {contamination:g}", "flowguard", fit, raw=True, settings=given)


def _fit(train: np.ndarray, seed: int, *, contamination: float) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
    from flowguard.detector import FlowDetector

    face = FlowDetector(random_state=seed, training={"contamination": contamination}).fit(train)
    return {"": lambda rows: -face.score_samples(rows)}


def measure(method: Method, path: Path, *, share: float, seed: int, rows: int) -> Figures | str:
    """Fit on the rows with planted anomalies and score the test rows."""
    dealt = plant(path, share=share, rows=rows, seed=seed)
    (one,) = scored(method, dealt.train, dealt.test, seed=seed).values()
    return figures(one, dealt.label)


# -- running -----------------------------------------------------------------------------------------------------------


def run(
    paths: Sequence[Path],
    *,
    seeds: Sequence[int],
    rows: int,
    limit: float,
    results: Path,
    chosen: Callable[[float], Mapping[str, Method]] = lines,
    fresh: bool = False,
    on_step: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[float, Outcome]]:
    """Level and outcome of every table, seed and line, from the kept results where there are any."""
    every = {level: chosen(level) for level in LEVELS}
    how = {method.name: settings(method) for at in every.values() for method in at.values()}
    done: set[Path] = set()
    for seed in seeds:
        for path in paths:
            for level, at in every.items():
                for line, method in at.items():
                    on_step(f"{path.stem}, seed {seed}, {level:.0%} planted: {line}")
                    made_by = {**how[method.name], "planted": level}
                    file = place(results, path, method.name, seed=seed, rows=rows, made_by=made_by)
                    one = None if fresh and file not in done else kept(file)
                    if one is None or not one.stands(limit):
                        one = measured(method, path, share=level, seed=seed, rows=rows, limit=limit)
                        keep(file, one, made_by)
                    done.add(file)
                    yield level, Outcome(one.table, line, seed, one.figures, one.error, one.limit)


def measured(method: Method, path: Path, *, share: float, seed: int, rows: int, limit: float) -> Outcome:
    """One detector on one table at one level, whatever happens."""
    try:
        found = limited(measure, method, path, share=share, seed=seed, rows=rows, limit=limit)
    except OverLimit as error:
        return Outcome(path.stem, method.name, seed, None, str(error), limit)
    except Failed as error:
        return Outcome(path.stem, method.name, seed, None, str(error))
    if isinstance(found, str):
        return Outcome(path.stem, method.name, seed, None, found)
    return Outcome(path.stem, method.name, seed, found)


# -- what is printed ---------------------------------------------------------------------------------------------------


def summary(found: Sequence[tuple[float, Outcome]]) -> Table:
    """One line per detector, a column per level; means over the tables and seeds on which every line has a figure."""
    areas: dict[tuple[str, int], dict[tuple[str, float], float]] = {}
    for level, one in found:
        each = areas.setdefault((one.table, one.seed), {})
        if one.figures is not None:
            each[one.line, level] = one.figures.auroc
    wanted = {(one.line, level) for level, one in found}
    same = [each for each in areas.values() if each.keys() == wanted]
    made = Table(
        title="AUROC by the share of anomalies in training",
        caption=f"Means over the {len(same)} of {len(areas)} tables and seeds on which all have a figure.",
        title_justify="left",
        caption_justify="left",
        box=None,
        padding=(0, 1),
    )
    made.add_column("detector", no_wrap=True)
    for level in LEVELS:
        made.add_column(f"{level:.0%}", justify="right")
    made.add_column("lost at most", justify="right")
    for line in dict.fromkeys(one.line for _, one in found):
        means = [float(np.mean([each[line, level] for each in same])) for level in LEVELS] if same else []
        lost = f"{100 * (means[0] - min(means)):.1f}" if means else "-"
        made.add_row(line, *([f"{100 * mean:.1f}" for mean in means] or ["-"] * len(LEVELS)), lost)
    return made


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with adbench/ (default: ../shared/data)")
    parser.add_argument("--tables", default=TABLES, help=f"numbers or names, comma-separated (default: {TABLES})")
    parser.add_argument("--seeds", type=seeds, default="0,1,2", help="seeds of the rows and the fit (default: 0,1,2)")
    parser.add_argument("--rows", type=int, default=3000, help="normal training rows at most (default: 3000)")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for a fit and its scores (default: 600)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where results are kept (default: runs/contamination)"
    )
    parser.add_argument("--fresh", action="store_true", help="measure again what is kept already")
    args = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    every = tables(args.data / "adbench")
    if not every:
        console.print(f"Skipped: there is no table in {args.data / 'adbench'}. Name the data's folder with --data.")
        return
    try:
        paths = named(every, args.tables)
    except ValueError as error:
        parser.error(str(error))
    prepare()
    found: list[tuple[float, Outcome]] = []
    fits = len(paths) * len(args.seeds) * sum(len(lines(level)) for level in LEVELS)
    with steps(console, fits) as step:
        given = {"seeds": args.seeds, "rows": args.rows, "limit": args.limit, "results": args.results}
        for level, one in run(paths, **given, fresh=args.fresh, on_step=step):
            found.append((level, one))
            if one.error is not None:
                text = f"No figure: {one.line} on {one.table}, seed {one.seed}, {level:.0%} planted: {one.error}"
                console.print(text, markup=False)
    console.print(summary(found))
    console.print(
        f"\n{len(paths)} table(s), {len(args.seeds)} seed(s), {args.rows:,} normal rows to train on at most; "
        f"results are kept in {args.results}",
        highlight=False,
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Ended. What was measured is kept; the same command goes on from there.") from None
