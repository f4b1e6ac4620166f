"""What the commands of the detection benchmarks show while they run, and which detectors they can run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from detection_peers import Method, installed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

INSTALL = "pip install -c constraints.txt -e '.[bench]'"


@contextmanager
def steps(console: Console, total: int) -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps, and what is called at the beginning of each with its name."""
    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*shown, console=console, transient=True) as progress:
        task = progress.add_task("", total=total, completed=-1)

        def step(text: str) -> None:
            progress.update(task, description=text, advance=1)
            # A log gets no bar: there, a line for each step.
            if not console.is_terminal:
                console.print(text, markup=False, highlight=False)

        yield step


def available(chosen: Sequence[Method], console: Console, *, there: Callable[[str], bool] = installed) -> list[Method]:
    """The detectors whose library is there; says which are left out, and how to get them."""
    absent = [one.name for one in chosen if not there(one.library)]
    if absent:
        console.print(f"Left out, as PyOD is not installed: {', '.join(absent)}. For these: {INSTALL}", markup=False)
    return [one for one in chosen if one.name not in absent]
