"""Progress bars on the terminal; plain lines where there is none."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from flowguard.cli.output import visible


class Bars:
    """The listener of stages in a terminal: one bar for the piece of work at hand, a line when it is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: list[TaskID] = []
        self._titles: list[str] = []

    def __enter__(self) -> Bars:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def start(self, title: str, total: float | None) -> None:
        """A bar appears; without a terminal, a line."""
        self._titles.append(title)
        self._tasks.append(self._progress.add_task(visible(title), total=total, note=""))
        if not self._console.is_terminal:
            self.say(f"{title} ...")

    def advance(self, amount: float, note: str | None = None) -> None:
        """The bar moves."""
        if self._tasks:
            task = self._tasks[-1]
            self._progress.update(task, advance=amount)
            if note:
                self._progress.update(task, note=visible(note))

    def finish(self) -> None:
        """The bar makes room for a line that stays."""
        task = self._tasks.pop()
        title = self._titles.pop()
        elapsed = self._progress.tasks[self._progress.task_ids.index(task)].elapsed or 0.0
        self._progress.remove_task(task)
        if self._console.is_terminal:
            self._console.print(Text.assemble(("done", "green"), f" {visible(title)} ", (f"({elapsed:.1f} s)", "dim")))

    def say(self, line: str) -> None:
        """A line above the bars."""
        self._console.print(Text(visible(line)), soft_wrap=True)
