"""Check every connection, version, permission, clock, disk and GPU that the pipelines need, and say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from flowguard.cli import output

if TYPE_CHECKING:
    from flowguard.stages.doctor import Finding

EXAMPLE = "flowguard doctor pipelines/flights.yaml"
_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


def command(
    files: list[Path] | None = typer.Argument(
        None, metavar="FILE", help="Pipeline files; by default all in pipelines/.", show_default=False
    ),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.doctor import doctor

    # Told as it is found: a server that does not answer takes its seconds.
    found = doctor(files or (), heard=_silent if as_json else _Told())

    def tell() -> None:
        counts = {state: sum(one.state == state for one in found.findings) for state in _MARKS}
        output.say("")
        output.say(f"{counts['ok']} in order, {counts['warn']} to look at, {counts['fail']} to be corrected.")

    output.emit(found, as_json, tell)
    if not found.well:
        raise typer.Exit(1)


def _silent(finding: Finding) -> None:
    pass


class _Told:
    """Findings for people, under a title for each group."""

    def __init__(self) -> None:
        self.group = ""

    def __call__(self, finding: Finding) -> None:
        if finding.group != self.group:
            output.say(f"{'' if not self.group else chr(10)}{finding.group}")
            self.group = finding.group
        mark, colour = _MARKS[finding.state]
        line = Text.assemble(
            "  ", (mark, colour), f" {output.visible(finding.name):<16} ", output.visible(finding.found)
        )
        output.console.print(line, soft_wrap=True)
        if finding.remedy:
            output.console.print(Text(f"    → {output.visible(finding.remedy)}", style="cyan"), soft_wrap=True)
