"""Profile Parquet data it has never seen and write a commented pipeline file that works as it stands."""

from __future__ import annotations

from pathlib import Path

import typer

from flowguard.cli import output

EXAMPLE = "flowguard init data/orders/ --out pipelines/orders.yaml"


def command(
    data: str = typer.Argument(..., metavar="DATA", help="A Parquet file, folder or glob; local or s3://."),
    out: Path = typer.Option(..., "--out", help="The pipeline file to write."),
    name: str | None = typer.Option(None, help="The pipeline's name; default: the file's."),
    force: bool = typer.Option(False, help="Overwrite FILE when it exists."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.init import init

    with output.reporting(as_json):
        drafted = init(data, out, name=name, force=force)

    def tell() -> None:
        output.say(f"Wrote {out}: read its comments, they say what was seen and why each column stands where it does.")
        output.next_commands(f"flowguard check {out}", f"flowguard train {out}", f"flowguard score {out}")

    output.emit(drafted, as_json, tell)
