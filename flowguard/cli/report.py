"""Write one self-contained HTML page per scored batch, one for the whole run and one of drift."""

from __future__ import annotations

from pathlib import Path

import typer

from flowguard.cli import output

EXAMPLE = "flowguard report pipelines/flights.yaml"


def command(
    file: Path = output.PIPELINE,
    batch: str | None = typer.Option(None, help="Only this batch's page."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.report import report

    with output.reporting(as_json):
        made = report(file, batch=batch)

    def tell() -> None:
        others = f", the run's page {made.run}" + (f" and the drift page {made.drift}" if made.drift else "")
        output.say(f"Wrote {len(made.pages)} batch pages{others}.")
        if made.drifted:
            output.say(made.drifted)
        output.next_commands(f"open {made.run}")

    output.emit(made, as_json, tell)
