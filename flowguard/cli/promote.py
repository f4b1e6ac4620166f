"""Make a version the champion: from the next batch on, it scores."""

from __future__ import annotations

from pathlib import Path

import typer

from flowguard.cli import output
from flowguard.cli.models import RUNS

EXAMPLE = "flowguard promote flights 2"


def command(
    name: str = typer.Argument(..., help="The pipeline's name."),
    version: int = typer.Argument(..., help="The version's number."),
    why: str = typer.Option("", help="Kept in the journal of aliases, with who and when."),
    despite_gate: bool = typer.Option(
        False, "--despite-gate", help="Also a version whose gate failed; --why must then say why."
    ),
    runs: Path = RUNS,
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.models import promote

    promoted = promote(runs, name, version, why=why, despite_gate=despite_gate)

    def tell() -> None:
        before = f" (before: version {promoted.before})" if promoted.before else ""
        output.say(f"{promoted.champion}{before}")
        if promoted.before and promoted.before != version:
            output.next_commands(f"flowguard promote {name} {promoted.before}    # to go back")

    output.emit(promoted, as_json, tell)
