"""The flagged records, strangest first, with their reasons."""

from __future__ import annotations

import csv
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowguard.cli import output

if TYPE_CHECKING:
    from flowguard.stages.flagged import FlaggedList

EXAMPLE = "flowguard flagged pipelines/flights.yaml --top 20 --format csv"


ABSENT = {"extrapolated": False, "verdict": "", "rule": ""}
"""What a row says that lacks the cell of an optional column."""


class Format(StrEnum):
    """How the list is printed."""

    table = "table"
    csv = "csv"
    json = "json"


def command(
    file: Path = output.PIPELINE,
    batch: str | None = typer.Option(None, help="Only this batch."),
    top: int = typer.Option(20, min=1, help="At most this many records."),
    suppressed: bool = typer.Option(
        False, "--suppressed", help="Instead: those that a rule of `flowguard rules` keeps from being shown."
    ),
    format: Format = typer.Option(Format.table, help="table for people, csv or json for programs."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.flagged import flagged
    from flowguard.stages.suppressed import suppressed_words
    from flowguard.tables.sheet import neutral

    found = flagged(file, batch=batch, top=top, suppressed=suppressed)
    if as_json or format is Format.json:
        print(json.dumps(output.plain([record.row() for record in found.records]), ensure_ascii=False))
    elif format is Format.csv:
        rows = [record.row() for record in found.records]
        writer = csv.writer(sys.stdout)
        columns = [*found.key, "batch", "log_likelihood", "score", "p_value", "version"]
        if any(record.extrapolated for record in found.records):
            columns.append("extrapolated")
        columns += [name for name in ("verdict", "rule") if any(getattr(record, name) for record in found.records)]
        writer.writerow([neutral(name) for name in [*columns, "reasons"]])
        for row in rows:
            writer.writerow(
                [
                    neutral(cell)
                    for cell in [*(row.get(name, ABSENT.get(name)) for name in columns), "; ".join(row["reasons"])]
                ]
            )
    else:
        kept = sum(found.suppressed.values())
        title = f"{found.total:,} flagged records"
        title += f", {kept:,} of them not shown, by rules" if suppressed else ""
        title += f", the strangest {top}" if (kept if suppressed else found.total - kept) > top else ""
        tell_flagged(found, title)
        if kept and not suppressed:
            output.say(f"{suppressed_words(found.suppressed)} `--suppressed` lists them.")
        if found.records:
            strangest = found.records[0].record_id
            audit = f"flowguard rules {file} audit" if suppressed else f"flowguard report {file}"
            output.next_commands(f"flowguard why {file} {strangest}", audit)
        else:
            output.next_commands(f"flowguard score {file}")


def tell_flagged(found: FlaggedList, title: str) -> None:
    """The records as a table for people."""
    rows = []
    decided = any(record.verdict for record in found.records)
    by_rule = any(record.rule for record in found.records)
    for record in found.records:
        row = record.row()
        rows.append(
            [
                *(row[name] for name in found.key),
                f"{row['score']:.2f}",
                f"{row['p_value']:.2g}{' (extrapolated)' if record.extrapolated else ''}",
                *([(record.verdict or "").replace("_", " ")] if decided else []),
                *([str(record.rule)] if by_rule else []),
                "\n".join(row["reasons"]),
            ]
        )
    told = [*(["verdict"] if decided else []), *(["rule"] if by_rule else [])]
    columns = [*found.key, "score", "p_value", *told, "reasons"]
    output.table(title, columns, rows, right=("score", "p_value"))
