"""Print the JSON schema of pipeline files, for editors."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from flowguard.cli import output

EXAMPLE = "flowguard schema --out pipelines/schema.json"


def command(
    out: Path | None = typer.Option(None, help="Write to this file; default: standard output."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.spec import json_schema

    text = json.dumps(json_schema(), indent=2)
    if out is None:
        print(text)
        return
    from flowguard.tables import atomic_text

    atomic_text(out, text + "\n")
    line = f"Wrote {out}. First line of a pipeline file for your editor: # yaml-language-server: $schema={out.name}"
    output.emit({"path": out}, as_json, lambda: output.say(line))
