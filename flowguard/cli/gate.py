"""What a version shows on records that neither it nor the champion knows; leaves with 0 only if it passed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowguard.cli import output

if TYPE_CHECKING:
    from flowguard.stages.gate.check import Gated

EXAMPLE = "flowguard gate pipelines/flights.yaml"
ANSWERS = {"passed": "passed", "failed": "FAILED", "unknown": "cannot say", "told": ""}


def command(
    file: Path = output.PIPELINE,
    version: str = typer.Argument("challenger", help="An alias or a version number."),
    against: str = typer.Option("champion", help="An alias or a version number: what it is compared with."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.gate.gate import gate

    with output.reporting(as_json):
        gated = gate(file, version, against=against)

    def tell() -> None:
        tell_gate(gated)
        output.next_commands(promotion(gated), f"flowguard report {file} --version {gated.version.version}")

    output.emit(gated, as_json, tell)
    if gated.outcome != "passed":
        raise typer.Exit(1)


def tell_gate(gated: Gated | None) -> None:
    """What the gate found, a line for each check; nothing for a version that had none to pass."""
    if gated is None:
        return
    against = f" against version {gated.champion}" if gated.champion is not None else ""
    outcome = gated.outcome.upper() if gated.outcome == "failed" else gated.outcome
    output.say(f"Gate of version {gated.version.version}{against}: {outcome}.")
    for one in gated.checks:
        answer = ANSWERS[one.answer]
        output.say(f"  {one.name}: {answer + '. ' if answer else ''}{one.sentence}")
    if gated.note:
        output.say(gated.note)


def promotion(gated: Gated) -> str:
    """How a person promotes it."""
    despite = " --despite-gate --why REASON" if gated.outcome == "failed" else ""
    return f"flowguard promote {gated.version.name} {gated.version.version}{despite}"
