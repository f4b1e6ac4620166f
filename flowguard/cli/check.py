"""Check a pipeline file and its data; nothing is written."""

from __future__ import annotations

from pathlib import Path

from flowguard.cli import output

EXAMPLE = "flowguard check pipelines/flights.yaml"


def command(file: Path = output.PIPELINE, as_json: bool = output.JSON) -> None:
    from flowguard.stages.check import check

    with output.reporting(as_json):
        checked = check(file)

    def tell() -> None:
        batches = f"{checked.batches:,} batches, {checked.first_batch} to {checked.last_batch}"
        output.say(f"{file} is in order: {checked.rows:,} records in {batches}.")
        output.say(f"  features: {', '.join(checked.features)}")
        output.say(f"  context:  {', '.join(checked.context) or 'none'}")
        if checked.unused:
            output.say(f"  unused:   {', '.join(checked.unused)}")
        output.next_commands(f"flowguard train {file}")

    output.emit(checked, as_json, tell)
