"""Write one self-contained HTML page per scored batch and one for the whole run."""

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
        output.say(
            f"Wrote {len(made.pages)} batch pages" + (f" and the run's page {made.run}" if made.run else "") + "."
        )
        output.next_commands(f"open {made.run or made.pages[0]}")

    output.emit(made, as_json, tell)
