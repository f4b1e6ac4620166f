"""Detection of anomalies on the tables of ADBench: flowguard as it comes beside ten detectors as they come.

    OMP_NUM_THREADS=1 python benchmarks/detection.py
    OMP_NUM_THREADS=1 python benchmarks/detection.py --tables 4,15,wine --seeds 0 --scores --families

Trains on a random half of the normal rows, tests on the other half and on every anomaly; no label is seen in training,
and every detector has one configuration for all tables. flowguard gets the rows as they are in the file, the others
features standardised on the training half. Fit and scoring of one table are a process of their own, on one thread,
ended after `--limit` seconds; means are over all tables but those of a detector that failed on some, marked with *,
which are over the tables it has a figure for. AUROC, average precision and gaps are percent.

Results are kept in `--results`, one file each, and a run that was ended goes on where it was. A result of other
settings, data or code (of flowguard the source counts, of the others the version) is not used again, and what failed is
tried again. Two runs with different tables may share the folder. PyOD's detectors need

    pip install -c constraints.txt -e '.[bench]'
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from detection_peers import Failed, Method, OverLimit, installed, limited, measure, methods, prepare, settings
from detection_progress import available, steps
from detection_tables import CHOSEN, ROWS, Figures, Outcome, keep, kept, named, place, tables
from rich.console import Console
from rich.table import Table

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
RESULTS = Path(__file__).resolve().parents[1] / "runs/detection"
WIDTH = 170


# -- running ---------------------------------------------------------------------------------------------------------


def run(
    paths: Sequence[Path],
    chosen: Sequence[Method],
    *,
    seeds: Sequence[int],
    rows: int,
    limit: float,
    results: Path,
    fresh: bool = False,
    on_step: Callable[[str], None] = lambda text: None,
) -> Iterator[Outcome]:
    """Every line of every table and seed, from the kept results where there are any; each detector is one step."""
    made_by = {method.name: settings(method) for method in chosen}
    for path in paths:
        for seed in seeds:
            for method in chosen:
                on_step(f"{path.stem}, seed {seed}: {method.name}")
                how = made_by[method.name]
                places = {line: place(results, path, line, seed=seed, rows=rows, made_by=how) for line in method.rows()}
                before = [] if fresh else [kept(file) for file in places.values()]
                found = [one for one in before if one is not None and one.stands(limit)]
                # The scores of one fit come together: where one is lacking, all are measured.
                if len(found) < len(places):
                    found = measured(method, path, seed=seed, rows=rows, limit=limit)
                    for one in found:
                        keep(places[one.line], one, how)
                yield from found


def measured(method: Method, path: Path, *, seed: int, rows: int, limit: float) -> list[Outcome]:
    """One detector on one table: an outcome for each of its lines, whatever happens."""
    lines = method.rows()
    try:
        found = limited(measure, method, path, seed=seed, rows=rows, limit=limit)
    except OverLimit as error:
        return [Outcome(path.stem, line, seed, None, str(error), limit) for line in lines]
    except Failed as error:
        return [Outcome(path.stem, line, seed, None, str(error)) for line in lines]
    return [
        Outcome(path.stem, line, seed, None, one) if isinstance(one, str) else Outcome(path.stem, line, seed, one)
        for line, one in found.items()
    ]


# -- tables that are printed -----------------------------------------------------------------------------------------


def means(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Figures | None]]:
    """The mean over seeds by table and line; None where a seed has no figure."""
    grouped: dict[str, dict[str, list[Figures | None]]] = {}
    for one in outcomes:
        grouped.setdefault(one.table, {}).setdefault(one.line, []).append(one.figures)
    return {table: {line: _mean(each) for line, each in lines.items()} for table, lines in grouped.items()}


def _mean(each: Sequence[Figures | None]) -> Figures | None:
    there = [asdict(one) for one in each if one is not None]
    if len(there) < len(each):
        return None
    return Figures(**{name: np.mean([one[name] for one in there]).item() for name in there[0]})


def compared(found: dict[str, dict[str, Figures | None]]) -> list[str]:
    """The tables that are compared: those on which every line has a figure that has one on most of them.

    A line that fails on more than every tenth table would take too many from the others: it is compared on its own.
    """
    most = [line for line in next(iter(found.values()), {}) if _missed(found, line) <= len(found) / 10]
    return [table for table, lines in found.items() if most and all(lines[line] is not None for line in most)]


def _missed(found: dict[str, dict[str, Figures | None]], line: str) -> int:
    return sum(lines[line] is None for lines in found.values())


def gaps(found: dict[str, dict[str, Figures | None]], line: str) -> dict[str, float]:
    """AUROC above that of the median peer, by table: of every table on which the line and a peer have a figure."""
    above = {}
    for table, lines in found.items():
        peers = [one.auroc for name, one in lines.items() if one is not None and not ours(name)]
        its = lines[line]
        if its is not None and peers:
            above[table] = its.auroc - float(np.median(peers))
    return above


def won(found: dict[str, dict[str, Figures | None]], tables: Sequence[str], line: str) -> int:
    """On how many tables no rival is better: of a peer the others and flowguard as it comes, of flowguard the peers."""
    rivals = [name for name in next(iter(found.values())) if not ours(name) or (name == "flowguard" and not ours(line))]
    count = 0
    for table in tables:
        best = max((one.auroc for name in rivals if (one := found[table][name]) is not None), default=0.0)
        its = found[table][line]
        count += its is not None and its.auroc >= best
    return count


def ours(line: str) -> bool:
    """Whether a line is flowguard's."""
    return line.split()[0] == "flowguard"


def by_table(found: dict[str, dict[str, Figures | None]], outcomes: Sequence[Outcome]) -> Table:
    """AUROC of every line on every table, the best in bold."""
    made = Table(title="AUROC, mean over seeds", padding=(0, 1), box=None, title_justify="left")
    made.add_column("table", no_wrap=True)
    lines = list(next(iter(found.values())))
    for line in lines:
        made.add_column("\n".join(line.split()), justify="right")
    late = {(one.table, one.line) for one in outcomes if one.limit is not None}
    for table, each in found.items():
        best = max((one.auroc for one in each.values() if one is not None), default=None)
        cells = []
        for line in lines:
            one = each[line]
            if one is None:
                cells.append("late" if (table, line) in late else "failed")
            else:
                cells.append(f"[bold]{100 * one.auroc:.1f}[/]" if one.auroc == best else f"{100 * one.auroc:.1f}")
        made.add_row(table, *cells)
    return made


def summary(found: dict[str, dict[str, Figures | None]], title: str) -> Table:
    """One line per detector, best mean AUROC first."""
    same = compared(found)
    none = [line for line in next(iter(found.values())) if all(lines[line] is None for lines in found.values())]
    caption = f"Means, wins and rates are over {len(same)} of {len(found)} tables"
    caption += f"; {', '.join(none)}: no figure at all." if none else "."
    made = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=None, padding=(0, 1))
    made.add_column("detector", no_wrap=True)
    for name in ("AUROC", "average precision", "tables won", "fit seconds", "rows/s scored", "figures on"):
        made.add_column(name, justify="right")
    made.add_column("worst gap to the median peer", no_wrap=True)
    entries: list[tuple[float, list[str]]] = []
    caption_of_some = False
    for line in next(iter(found.values())):
        count = sum(lines[line] is not None for lines in found.values())
        each = [one for table in same if (one := found[table][line]) is not None]
        above = gaps(found, line)
        worst = min(above, key=lambda table: above[table], default=None)
        gap = "-" if worst is None else f"{100 * above[worst]:+.1f}  {worst}"
        figures = ["-"] * 5
        auroc = -1.0
        if each:
            auroc = float(np.mean([one.auroc for one in each]))
            precision, fit = (
                np.mean([getattr(one, of) for one in each]) for of in ("average_precision", "fit_seconds")
            )
            rate = sum(one.tested for one in each) / sum(one.score_seconds for one in each)
            wins = str(won(found, same, line))
            mark = "" if len(each) == len(same) else "*"
            caption_of_some |= bool(mark)
            figures = [f"{100 * auroc:.2f}{mark}", f"{100 * precision:.2f}{mark}", wins, f"{fit:.2f}", f"{rate:,.0f}"]
        entries.append((auroc, [line, *figures, f"{count}/{len(found)}", gap]))
    for _, cells in sorted(entries, key=lambda entry: -entry[0]):
        made.add_row(*cells)
    if caption_of_some:
        made.caption = f"{caption} * over fewer of them: it failed on the others, and its mean compares with none."
    return made


# -- the command -----------------------------------------------------------------------------------------------------


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with adbench/ (default: ../shared/data)")
    parser.add_argument("--tables", help="numbers or names of tables, comma-separated (default: all)")
    parser.add_argument("--seeds", type=seeds, default="0,1,2", help="seeds of the split and the fit (default: 0,1,2)")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows kept of a table at most (default: {ROWS:,})")
    parser.add_argument("--detectors", help="only these, comma-separated: " + ", ".join(one.name for one in methods()))
    parser.add_argument("--scores", action="store_true", help="also flowguard's other scores, of the same fits")
    parser.add_argument("--families", action="store_true", help="also flowguard's other densities, each alone")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for a fit and its scores (default: 600)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where results are kept (default: runs/detection)"
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
        chosen = asked(methods(scores=args.scores, families=args.families), args.detectors)
    except ValueError as error:
        parser.error(str(error))
    chosen = available(chosen, console, there=installed)
    if not chosen:
        return
    prepare()
    outcomes = []
    with steps(console, len(paths) * len(args.seeds) * len(chosen)) as step:
        for one in run(
            paths,
            chosen,
            seeds=args.seeds,
            rows=args.rows,
            limit=args.limit,
            results=args.results,
            fresh=args.fresh,
            on_step=step,
        ):
            outcomes.append(one)
            if one.error is not None:
                console.print(f"No figure: {one.line} on {one.table}, seed {one.seed}: {one.error}", markup=False)
    found = means(outcomes)
    console.print(by_table(found, outcomes))
    first = {path.stem for path in every[:CHOSEN]}
    parts = {
        f"Tables {', '.join(path.stem.split('_')[0] for path in every[:CHOSEN])}, on which choices were made": first,
        "The other tables": found.keys() - first,
        "All tables": found.keys(),
    }
    for title, names in parts.items():
        part = {table: lines for table, lines in found.items() if table in names}
        if part:
            console.print()
            console.print(summary(part, title))
    console.print(f"\n{len(args.seeds)} seed(s), {args.rows:,} rows at most; results are kept in {args.results}")


def seeds(text: str) -> list[int]:
    """The numbers of a comma-separated list."""
    return sorted({int(seed) for seed in text.split(",")})


def asked(every: Sequence[Method], names: str | None) -> list[Method]:
    """The detectors of a comma-separated list, in any case; all for None. Errors: ValueError for an unknown one."""
    if names is None:
        return list(every)
    wanted = {name.strip().lower() for name in names.split(",") if name.strip()}
    unknown = wanted - {one.name.lower() for one in every}
    if unknown:
        there = ", ".join(one.name for one in every)
        raise ValueError(f"There is no detector {', '.join(sorted(unknown))}; expected some of {there}.")
    return [one for one in every if one.name.lower() in wanted]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Ended. What was measured is kept; the same command goes on from there.") from None
