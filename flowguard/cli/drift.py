"""How the data changed since calibration: alarms, what they are, which batches are odd as a whole, and a page of it."""

from __future__ import annotations

from pathlib import Path

import typer

from flowguard.cli import output

EXAMPLE = "flowguard drift pipelines/flights.yaml"


def command(
    file: Path = output.PIPELINE,
    version: str = typer.Option("champion", help="An alias or a version number."),
    last: int = typer.Option(20, min=1, help="So many of the latest alarms and odd batches."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.drift import drift

    found = drift(file, version=version)

    def tell() -> None:
        odd = [record for record in found.records if record.flagged]
        output.say(
            f"{len(found.records):,} batches of {found.pipeline} under version {found.version}: "
            f"{len(found.alarms):,} with an alarm, {len(odd):,} odd as a whole."
        )
        rows = [
            [record.batch, record.drift.kind, record.drift.sentence]
            for record in found.alarms[-last:]
            if record.drift is not None
        ]
        if rows:
            output.say("")
            output.table("Alarms", ["batch", "kind", "what changed"], rows)
        if odd:
            lines = []
            for one in odd[-last:]:
                p_value = f"{one.p_value:.2g}{' (extrapolated)' if one.extrapolated else ''}"
                lines.append([one.batch, f"{one.records:,}", p_value, one.sentence])
            output.say("")
            output.table("Odd batches", ["batch", "records", "p-value", "how"], lines, right=("records", "p-value"))
        if not rows and not odd:
            latest = found.records[-1]
            output.say(f"Nothing changed. Evidence after {latest.batch}: {100 * latest.odds:.2g} % of an alarm's.")
        output.say("")
        output.say(f"Wrote the drift page {found.page}.")
        output.next_commands(f"open {found.page}", f"flowguard recalibrate {file} --since DAY --until DAY")

    document = {
        "version": found.version,
        "page": str(found.page),
        "records": [one.to_json() for one in found.records],
    }
    output.emit(document, as_json, tell)
