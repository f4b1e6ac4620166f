"""How many records a second flowguard's flows score and train on, beside zuko's, nflows' and an isolation forest.

    OMP_NUM_THREADS=2 python benchmarks/speed.py
    OMP_NUM_THREADS=1 python benchmarks/speed.py --threads 1 --repeats 5 --budget 0

About ten minutes on a free machine. All flows have the same columns, layers, hidden units and bins, reverse the columns
between layers, and have float32; flowguard also float64, as its detector scores. Contenders run in turn, again and
again, and a ratio is the median of the ratios within such rounds, so that what else the machine does meets all of
them. One thread is timed by the seconds of its processor, several by the clock on the wall, which means something on a
machine that does nothing else.

`of dense` is the share of the rate of a large dense product, measured in the same rounds, that a flow would need if it
multiplied with its masked matrices whole: one that leaves out zeros can pass 100 %. `--budget` is of the last table, at
equal likelihood: processor seconds of training for each flow, 0 to leave it out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from speed_likelihood import likelihood_table, races
from speed_models import KINDS, Architecture, Contender, contenders, forest
from torch import Tensor

LEARNING_RATE = 1e-4
DENSE = "dense product"
SIZE = 1024


@dataclass(frozen=True)
class Row:
    """One line: seconds of each round, and what a record costs in whole matrices."""

    threads: int
    kind: str
    task: str  # "score" or "train"
    name: str
    seconds: tuple[float, ...]
    products: int
    double: bool = False


def rounds(
    runs: dict[str, Callable[[], object]], *, repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, tuple[float, ...]]:
    """Seconds of every run in every round, after one that does not count; each round begins with another run."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for place in range(repeats + 1):
        start = place % len(names)
        for name in names[start:] + names[:start]:
            began = clock()
            runs[name]()
            if place:
                taken[name].append(clock() - began)
    return {name: tuple(seconds) for name, seconds in taken.items()}


def ratio(of: tuple[float, ...], to: tuple[float, ...]) -> float:
    """The median over rounds of how many times as long `of` took as `to`."""
    return statistics.median(a / b for a, b in zip(of, to, strict=True))


def scoring(one: Contender, x: Tensor) -> Callable[[], object]:
    """Log-likelihoods of all records without gradients."""
    given = x.to(one.dtype)
    if one.model is not None:
        one.model.eval()

    def run() -> object:
        with torch.inference_mode():
            return one.score(given)

    return run


def step(one: Contender, x: Tensor) -> Callable[[], object]:
    """One step of training: forward, backward, AdamW."""
    assert one.model is not None
    assert one.log_prob is not None
    model, log_prob = one.model.train(), one.log_prob
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        (-log_prob(x).mean()).backward()
        optimizer.step()

    return run


def dense(dtype: torch.dtype) -> Callable[[], object]:
    """A large dense product, the fastest that the machine multiplies."""
    a, b = torch.randn(2, SIZE, SIZE).to(dtype)
    return partial(torch.mm, a, b)


def measured(of: Architecture, args: argparse.Namespace, progress: Progress) -> Iterator[Row]:
    """Every flow at every number of threads, scoring and training."""
    x = torch.randn(args.records, of.columns, generator=torch.Generator().manual_seed(args.seed))
    task = progress.add_task("", total=2 * len(KINDS) * len(args.threads))
    for threads in args.threads:
        torch.set_num_threads(threads)
        clock = time.process_time if threads == 1 else time.perf_counter
        for kind in KINDS:
            racing = contenders(kind, of, seed=args.seed)
            single = [one for one in racing if one.dtype == torch.float32]
            trees = forest(of, x.numpy(), seed=args.seed, threads=threads)
            for what, entered in (("score", [*racing, trees]), ("train", single)):
                progress.update(task, description=f"{kind}, {what}, {threads} thread{'s' if threads > 1 else ''}")
                make = scoring if what == "score" else step
                runs = {one.name: make(one, x) for one in entered}
                taken = rounds({**runs, DENSE: dense(torch.float32)}, repeats=args.repeats, clock=clock)
                for one in entered:
                    double = one.dtype == torch.float64
                    yield Row(threads, kind, what, one.name, taken[one.name], one.products, double)
                yield Row(threads, kind, what, DENSE, taken[DENSE], 0)
                progress.advance(task)


def share_of_dense(row: Row, base: Row, records: int) -> float:
    """The share of the dense rate that whole masked matrices would take; a step of training has three products each."""
    passes = 3 if row.task == "train" else 1
    needed = passes * records * row.products / SIZE**3
    return statistics.median(needed * b / a for a, b in zip(row.seconds, base.seconds, strict=True))


def table(rows: list[Row], of: Architecture, records: int) -> Table:
    """In the order they ran; `flowguard` says how many times as fast flowguard's float32 is as each of the others."""
    made = Table(
        title=f"{records:,} records of {of.columns} columns, {of.layers} layers of {' x '.join(map(str, of.hidden))}"
    )
    made.add_column("threads", justify="right")
    for name in ("flow", "task", "library"):
        made.add_column(name, no_wrap=True)
    for name in ("ms", "records/s", "flowguard", "of dense"):
        made.add_column(name, justify="right")
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        if row.name == DENSE:
            continue
        mates = {other.name: other for other in rows if (other.threads, other.kind, other.task) == key(row)}
        seconds = statistics.median(row.seconds)
        times = "" if row.name == "flowguard" else f"{ratio(row.seconds, mates['flowguard'].seconds):.2f} x"
        share = f"{share_of_dense(row, mates[DENSE], records):.0%}" if row.products and not row.double else "-"
        last = following is None or following.name == DENSE
        rate = f"{records / seconds:,.0f}"
        made.add_row(
            str(row.threads), row.kind, row.task, row.name, f"{seconds * 1e3:.1f}", rate, times, share, end_section=last
        )
    return made


def key(row: Row) -> tuple[int, str, str]:
    """What ran in turn."""
    return row.threads, row.kind, row.task


def dense_rates(rows: list[Row]) -> str:
    """The measured rate of the dense product in a sentence."""
    found = []
    for threads in dict.fromkeys(row.threads for row in rows):
        seconds = [s for row in rows if row.name == DENSE and row.threads == threads for s in row.seconds]
        found.append(f"{2 * SIZE**3 / statistics.median(seconds) / 1e9:.0f} on {threads}")
    return f"Dense products of {SIZE} x {SIZE} in float32: {', '.join(found)} thread(s), in 1e9 operations a second."


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=16)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--hidden", default="128,128", help="widths, comma-separated (default: 128,128)")
    parser.add_argument("--records", type=int, default=4096)
    parser.add_argument("--threads", default="1,2", help="comma-separated (default: 1,2); '' for the last table alone")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for each flow at equal likelihood")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.threads = [int(threads) for threads in args.threads.split(",") if threads]
    of = Architecture(args.columns, args.layers, tuple(int(width) for width in args.hidden.split(",")))
    console = Console()
    shown = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*shown, console=console, transient=True) as progress:
        rows = list(measured(of, args, progress))
        if rows:
            console.print(table(rows, of, args.records))
            console.print(dense_rates(rows))
        if args.budget:
            found = list(races(of, budget=args.budget, seed=args.seed, repeats=args.repeats, progress=progress))
            console.print(likelihood_table(found, budget=args.budget))
    console.print(f"Load of the machine in the last 15 minutes, this run included: {os.getloadavg()[2]:.1f}.")


if __name__ == "__main__":
    main()
