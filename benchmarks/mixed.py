"""Detection on a table of mixed columns, the connections of NSL-KDD: flowguard as it comes beside ten detectors.

    OMP_NUM_THREADS=1 python benchmarks/mixed.py
    OMP_NUM_THREADS=1 python benchmarks/mixed.py --detectors flowguard,KNN --seeds 0 --scores

Trains on the normal connections of KDDTrain_20Percent.txt, tests on KDDTest.txt, where an attack of any kind is an
anomaly. flowguard gets the 41 columns as they are, three of them text; the others get a column of 0 and 1 for each
level of these (levels that training did not have give 0), all standardised on the training rows. The training rows are
the same for every seed, which is the fit's alone. Below the areas over all attacks stand those of each family against
the normal rows; `new` are the attacks that attack_types.csv does not name, as they came up after the training file.

Fit and scoring are a process of their own, on one thread, ended after `--limit` seconds. Results are kept in
`--results` as those of detection.py are, and a run that was ended goes on where it was. PyOD's detectors need

    pip install -c constraints.txt -e '.[bench]'
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from detection import WIDTH, asked, means, seeds
from detection_peers import Failed, Method, OverLimit, figures, installed, limited, methods, prepare, scored, settings
from detection_progress import available, steps
from detection_tables import Figures, Outcome, keep, kept, place
from mixed_rows import FAMILIES, FILES, NORMAL, TRAIN, connections, digest
from rich.console import Console
from rich.table import Table

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
RESULTS = Path(__file__).resolve().parents[1] / "runs/mixed"
ALL = "all attacks"

Parts = dict[str, dict[str, Figures | str]]
"""By line of the table, then by family of attacks, `ALL` first."""


def measure(method: Method, folder: Path, *, seed: int, rows: int | None) -> Parts:
    """Fit on the normal training rows, score the test rows, and compare each family of attacks with the normal ones."""
    dealt = connections(folder, rows=rows)
    train, test = (dealt.train, dealt.test) if method.raw else dealt.as_numbers()
    label, family = dealt.label, dealt.family
    found: Parts = {}
    for line, one in scored(method, train, test, seed=seed).items():
        found[line] = {ALL: figures(one, label)}
        for name in sorted(set(family.tolist()) - {NORMAL}):
            found[line][name] = figures(one, label, (family == name) | ~label)
    return found


def run(
    folder: Path,
    chosen: Sequence[Method],
    *,
    seeds: Sequence[int],
    rows: int | None,
    limit: float,
    results: Path,
    fresh: bool = False,
    on_step: Callable[[str], None] = lambda text: None,
) -> Iterator[Outcome]:
    """An outcome of every line, seed and family (as its `table`), from the kept results where there are any."""
    data = digest(folder)
    families = [ALL, *sorted(set(connections(folder, rows=rows).family.tolist()) - {NORMAL})]
    for method in chosen:
        how = {**settings(method), "files": data}
        for seed in seeds:
            on_step(f"seed {seed}: {method.name}")
            places = {
                (line, name): place(
                    results / name.replace(" ", "-"), folder / TRAIN, line, seed=seed, rows=rows or 0, made_by=how
                )
                for line in method.rows()
                for name in families
            }
            before = [] if fresh else [kept(file) for file in places.values()]
            found = [one for one in before if one is not None and one.stands(limit)]
            if len(found) < len(places):
                found = measured(method, folder, families, seed=seed, rows=rows, limit=limit)
                for one in found:
                    keep(places[one.line, one.table], one, how)
            yield from found


def measured(
    method: Method, folder: Path, families: Sequence[str], *, seed: int, rows: int | None, limit: float
) -> list[Outcome]:
    """One detector: an outcome for each of its lines and each family, whatever happens."""
    every = [(line, name) for line in method.rows() for name in families]
    try:
        found = limited(measure, method, folder, seed=seed, rows=rows, limit=limit)
    except OverLimit as error:
        return [Outcome(name, line, seed, None, str(error), limit) for line, name in every]
    except Failed as error:
        return [Outcome(name, line, seed, None, str(error)) for line, name in every]
    each = [(line, name, found[line][name]) for line, name in every]
    return [
        Outcome(name, line, seed, None, one) if isinstance(one, str) else Outcome(name, line, seed, one)
        for line, name, one in each
    ]


# -- tables that are printed -----------------------------------------------------------------------------------------


def ranked(found: dict[str, dict[str, Figures | None]]) -> list[str]:
    """The lines, best AUROC over all attacks first; those without a figure last."""
    every = found[ALL]
    return sorted(every, key=lambda line: -one.auroc if (one := every[line]) is not None else 1.0)


def summary(found: dict[str, dict[str, Figures | None]], outcomes: Sequence[Outcome]) -> Table:
    """One line per detector: areas over all attacks, with the spread of the first over the seeds."""
    made = Table(title="All attacks, mean over seeds", title_justify="left", box=None, padding=(0, 1))
    made.add_column("detector", no_wrap=True)
    for name in ("AUROC", "+- over seeds", "average precision", "fit seconds", "rows/s scored"):
        made.add_column(name, justify="right")
    for line in ranked(found):
        one = found[ALL][line]
        if one is None:
            made.add_row(line, "failed", *["-"] * 4)
            continue
        areas = [it.figures.auroc for it in outcomes if (it.line, it.table) == (line, ALL) and it.figures is not None]
        made.add_row(
            line,
            f"{100 * one.auroc:.2f}",
            f"{100 * np.std(areas):.2f}",
            f"{100 * one.average_precision:.2f}",
            f"{one.fit_seconds:.2f}",
            f"{one.tested / one.score_seconds:,.0f}",
        )
    return made


def by_family(found: dict[str, dict[str, Figures | None]], counts: dict[str, int]) -> Table:
    """AUROC of each family of attacks against the normal rows, the best in bold."""
    made = Table(title="AUROC by family of attacks", title_justify="left", box=None, padding=(0, 1))
    made.add_column("detector", no_wrap=True)
    families = sorted((name for name in found if name != ALL), key=lambda name: -counts[name])
    for name in families:
        made.add_column(f"{name}\n{counts[name]:,} rows", justify="right")
    best = {name: max((one.auroc for one in found[name].values() if one is not None), default=None) for name in found}
    for line in ranked(found):
        cells = []
        for name in families:
            one = found[name][line]
            text = "-" if one is None else f"{100 * one.auroc:.2f}"
            cells.append(f"[bold]{text}[/]" if one is not None and one.auroc == best[name] else text)
        made.add_row(line, *cells)
    return made


# -- the command -----------------------------------------------------------------------------------------------------


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with nsl_kdd/ (default: ../shared/data)")
    parser.add_argument("--seeds", type=seeds, default="0,1,2", help="seeds of the fit (default: 0,1,2)")
    parser.add_argument("--rows", type=int, help="first rows of each file that are read (default: all)")
    parser.add_argument("--detectors", help="only these, comma-separated: " + ", ".join(one.name for one in methods()))
    parser.add_argument("--scores", action="store_true", help="also flowguard's other scores, of the same fits")
    parser.add_argument("--limit", type=float, default=1200.0, help="seconds for a fit and its scores (default: 1200)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are kept (default: runs/mixed)")
    parser.add_argument("--fresh", action="store_true", help="measure again what is kept already")
    args = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    folder = args.data / "nsl_kdd"
    lacking = [name for name in FILES if not (folder / name).exists()]
    if lacking:
        console.print(f"Skipped: there is no {', '.join(lacking)} in {folder}. Name the data's folder with --data.")
        return
    try:
        chosen = asked(methods(scores=args.scores), args.detectors)
        dealt = connections(folder, rows=args.rows)
    except ValueError as error:
        parser.error(str(error))
    chosen = available(chosen, console, there=installed)
    if not chosen:
        return
    prepare()
    outcomes = []
    with steps(console, len(args.seeds) * len(chosen)) as step:
        for one in run(
            folder,
            chosen,
            seeds=args.seeds,
            rows=args.rows,
            limit=args.limit,
            results=args.results,
            fresh=args.fresh,
            on_step=step,
        ):
            outcomes.append(one)
            if one.error is not None and one.table == ALL:
                console.print(f"No figure: {one.line}, seed {one.seed}: {one.error}", markup=False)
    found = means(outcomes)
    console.print(summary(found, outcomes))
    console.print()
    console.print(by_family(found, {name: int((dealt.family == name).sum()) for name in found}))
    console.print(
        f"\n{len(dealt.train):,} normal rows trained on, {len(dealt.test):,} tested, {dealt.label.mean():.0%} attacks "
        f"(families: {FAMILIES}). {len(args.seeds)} seed(s); results are kept in {args.results}",
        highlight=False,
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Ended. What was measured is kept; the same command goes on from there.") from None
