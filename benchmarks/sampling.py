"""Seconds of a log-likelihood and of a sample with autoregressive flows, beside a pass per column and zuko's flows.

    OMP_NUM_THREADS=1 python benchmarks/sampling.py
    OMP_NUM_THREADS=1 python benchmarks/sampling.py --columns 8,16 --repeats 9

About five minutes, most of them zuko's at 64 and 128 columns. `runs` says of how many runs a sample's median is: fewer
than `--repeats` where `--limit` was reached, 1 where the first run alone took that long and is all there is.

Untrained flows of three layers with hidden layers of 64 and 64 units: how long they take does not depend on what was
learned, except for the mixture's, whose quantiles are searched for, and which is left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor

from flowguard.density import Autoregressive, Chain, Flow, maf

LAYERS, HIDDEN = 3, (64, 64)


@dataclass(frozen=True)
class Contender:
    """A flow to time: what gives the log-likelihoods of records, and what draws records."""

    name: str
    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor]


@dataclass(frozen=True)
class Row:
    """One line of the table: medians in seconds, and the runs that the median of sampling is of."""

    columns: int
    flow: str
    log_prob: float
    sample: float
    runs: int


def pass_per_column(flow: Flow, z: Tensor) -> Tensor:
    """The inverse as its definition has it, a whole pass of the network for each column: what sampling used to be."""
    for part in reversed(cast(Chain, flow.bijection).parts):
        layer = cast(Autoregressive, part)
        columns = list(torch.zeros_like(z).unbind(-1))
        for column in layer.order:
            columns[column] = layer.invert_column(torch.stack(columns, -1), z[:, column], column)
        z = torch.stack(columns, -1)
    return z


def sample_by_passes(flow: Flow, n: int) -> Tensor:
    """n draws, `(n, columns)`."""
    return pass_per_column(flow, torch.randn(n, flow.features))


def contenders(columns: int, *, seed: int) -> list[Contender]:
    """flowguard's flows, each by both ways of sampling, and zuko's where it is installed."""
    made = []
    for name in ("affine", "spline"):
        flow = maf(columns, transformer=name, hidden=HIDDEN, layers=LAYERS, seed=seed).eval()
        _agree(flow, columns)
        made += [
            Contender(f"maf {name}", flow.log_prob, flow.sample),
            Contender(f"maf {name}, a pass per column", flow.log_prob, partial(sample_by_passes, flow)),
        ]
    return made + [_zuko(name, flow) for name, flow in zuko_flows(columns, seed=seed).items()]


def zuko_flows(columns: int, *, seed: int) -> dict[str, Any]:
    """zuko's MAF and NSF of as many layers and hidden units; {} where zuko is not installed."""
    try:
        import zuko
    except ImportError:
        return {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kinds = {"zuko MAF": zuko.flows.MAF, "zuko NSF": zuko.flows.NSF}
        return {name: kind(columns, transforms=LAYERS, hidden_features=HIDDEN) for name, kind in kinds.items()}


def timed(run: Callable[[], object], *, repeats: int, limit: float) -> tuple[float, int]:
    """The median of the seconds that `run` takes, after one run that does not count, and of how many runs it is.

    No further run starts after `limit` seconds in all; a first run that alone takes as long is the one that counts.
    """
    taken: list[float] = []
    while len(taken) <= repeats and sum(taken) < limit:
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    counted = taken[1:] or taken
    return statistics.median(counted), len(counted)


def rows(args: argparse.Namespace, progress: Progress) -> list[Row]:
    """Every flow at every number of columns."""
    found = []
    task = progress.add_task("", total=None)
    for place, columns in enumerate(args.columns):
        racing = contenders(columns, seed=args.seed)
        x = torch.randn(args.records, columns, generator=torch.Generator().manual_seed(args.seed))
        progress.update(task, total=len(racing) * len(args.columns), completed=place * len(racing))
        for contender in racing:
            progress.update(task, description=f"{contender.name}, {columns} columns")
            with torch.no_grad():
                log_prob, _ = timed(partial(contender.log_prob, x), repeats=args.repeats, limit=args.limit)
                sample, runs = timed(partial(contender.sample, args.records), repeats=args.repeats, limit=args.limit)
            found.append(Row(columns, contender.name, log_prob, sample, runs))
            progress.advance(task)
    return found


def table(found: list[Row], args: argparse.Namespace) -> Table:
    """In the order they ran, a section for each number of columns."""
    threads = torch.get_num_threads()
    title = f"{args.records:,} records, median of up to {args.repeats}, {threads} thread{'s' if threads > 1 else ''}"
    made = Table(title=title)
    made.add_column("columns", justify="right")
    made.add_column("flow", no_wrap=True)
    for name in ("log-lik. s", "sample s", "ratio", "runs"):
        made.add_column(name, justify="right")
    for row, following in zip(found, [*found[1:], None], strict=True):
        last = following is None or following.columns != row.columns
        ratio = f"{row.sample / row.log_prob:.1f}"
        seconds = f"{row.log_prob:.4f}", f"{row.sample:.4f}"
        made.add_row(str(row.columns), row.flow, *seconds, ratio, str(row.runs), end_section=last)
    return made


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", default="8,16,64,128", help="comma-separated (default: 8,16,64,128)")
    parser.add_argument("--records", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=float, default=10.0, help="no repeat after so many seconds (default: 10)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.columns = [int(columns) for columns in args.columns.split(",")]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    console = Console()
    shown = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*shown, console=console, transient=True) as progress:
        found = rows(args, progress)
    console.print(table(found, args))


def _zuko(name: str, flow: Any) -> Contender:
    return Contender(name, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)))


def _agree(flow: Flow, columns: int) -> None:
    """Refuse to time two ways of sampling that do not return the same."""
    z = torch.randn(64, columns, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(flow.inverse(z), pass_per_column(flow, z), rtol=1e-3, atol=1e-3)


if __name__ == "__main__":
    main()
