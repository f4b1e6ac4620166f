"""What a command prints: words and tables for people on a terminal, one JSON document for scripts."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flowguard import logs

PIPELINE = typer.Argument(..., metavar="FILE", help="The pipeline file (YAML).", show_default=False)
JSON = typer.Option(False, "--json", help="Print one JSON document for scripts, nothing else.")

# A pipe or a log file has no width of its own: lines there are as long as they are.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)


@contextmanager
def reporting(as_json: bool) -> Iterator[None]:
    """Progress bars and notices on the terminal while stages work; silence for scripts, and where the log has them."""
    if as_json or logs.as_json():
        yield
        return
    from flowguard.cli.progress import Bars
    from flowguard.stages.progress import listening

    with Bars(console) as bars, listening(bars):
        yield


def emit(result: Any, as_json: bool, tell: Callable[[], None]) -> None:
    """Print `result` as JSON, or let `tell` print it for people."""
    if as_json:
        print(json.dumps(plain(result), ensure_ascii=False, allow_nan=False))
    else:
        tell()


def plain(value: Any) -> Any:
    """A result as JSON can hold it; NaN and infinities become null.

    >>> plain({"at": Path("runs"), "p": float("nan")})
    {'at': 'runs', 'p': None}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def say(line: str) -> None:
    """A line for people, as it is: values from data are never read as markup."""
    console.print(Text(visible(line)), soft_wrap=True)


def complain(message: str, error: BaseException | None = None) -> None:
    """What went wrong, on standard error; as a line of the log, with what `error` was about, where that is JSON."""
    if logs.as_json():
        logging.getLogger("flowguard").error("%s", message, extra={} if error is None else logs.fields_of(error))
        return
    print(f"flowguard: {visible(message)}", file=sys.stderr)


def visible(text: str) -> str:
    r"""`text` with what a terminal would obey (control characters, escape sequences, changes of direction) spelled out.

    >>> visible("a\x1b[31mb\tc\nd")
    'a\\x1b[31mb\\tc\nd'
    """
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode("ascii") for char in text
    )


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """A table for people; numbers in the `right` columns are aligned. A cell of rich's `Text` is shown as it is."""
    view = Table(
        title=Text(visible(title)),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for name in columns:
        view.add_column(Text(visible(name)), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        view.add_row(*(cell if isinstance(cell, Text) else Text(visible(str(cell))) for cell in row))
    console.print(view)


def next_commands(*commands: str) -> None:
    """What to type next."""
    console.print("\nNext:")
    for command in commands:
        console.print(Text(f"  {visible(command)}"), style="cyan", soft_wrap=True)


def percent(share: float) -> str:
    """A rate as people read it.

    >>> percent(0.001), percent(0.0213)
    ('0.1 %', '2.13 %')
    """
    return "none" if math.isnan(share) else f"{share * 100:.3g} %"
