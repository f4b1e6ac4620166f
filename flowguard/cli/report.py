"""Write one self-contained HTML page per scored batch, one for the whole run and one of drift; or one of a version."""

from __future__ import annotations

from pathlib import Path

import typer

from flowguard.cli import output
from flowguard.errors import InputError

EXAMPLE = "flowguard report pipelines/flights.yaml"


def command(
    file: Path = output.PIPELINE,
    batch: str | None = typer.Option(None, help="Only this batch's page."),
    version: str | None = typer.Option(
        None, metavar="N", help="Only the page of this version, by number or alias: how it was trained and calibrated."
    ),
    as_json: bool = output.JSON,
) -> None:
    if version is not None:
        _version(file, version, batch, as_json)
        return
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


def _version(file: Path, version: str, batch: str | None, as_json: bool) -> None:
    if batch is not None:
        raise InputError("--batch and --version are pages of their own: give one of them.")
    from flowguard.stages.version import write_version

    with output.reporting(as_json):
        page = write_version(file, version)

    def tell() -> None:
        output.say(f"Wrote {page}.")
        output.next_commands(f"open {page}")

    output.emit({"page": page}, as_json, tell)
