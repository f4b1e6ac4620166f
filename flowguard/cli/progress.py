"""Progress bars on the terminal; plain lines where there is none."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Bars:
    """The listener of stages in a terminal: one bar for the piece of work at hand, a line when it is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
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
        self._tasks.append(self._progress.add_task(escape(title), total=total, note=""))
        if not self._console.is_terminal:
            self._console.print(f"{escape(title)} ...")

    def advance(self, amount: float, note: str | None = None) -> None:
        """The bar moves."""
        if self._tasks:
            task = self._tasks[-1]
            self._progress.update(task, advance=amount)
            if note:
                self._progress.update(task, note=escape(note))

    def finish(self) -> None:
        """The bar makes room for a line that stays."""
        task = self._tasks.pop()
        title = self._titles.pop()
        elapsed = self._progress.tasks[self._progress.task_ids.index(task)].elapsed or 0.0
        self._progress.remove_task(task)
        if self._console.is_terminal:
            self._console.print(f"[green]done[/] {escape(title)} [dim]({elapsed:.1f} s)[/]")

    def say(self, line: str) -> None:
        """A line above the bars."""
        self._console.print(escape(line))
