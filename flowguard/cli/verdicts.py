"""The verdicts that stand, newest first, with the precision and missed-anomaly rate that they tell of each version."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flowguard.cli import output
from flowguard.cli.flagged import Format
from flowguard.cli.verdict import quality_lines

if TYPE_CHECKING:
    from flowguard.stages.audit import Audit
    from flowguard.stages.verdicts import Listed

EXAMPLE = "flowguard verdicts pipelines/flights.yaml --format csv"
_FIELDS = ("decision", "batch", "version", "score", "p_value", "flagged", "audited", "who", "at", "note", "case_id")


def command(
    file: Path = output.PIPELINE,
    batch: str | None = typer.Option(None, help="Only this batch."),
    top: int | None = typer.Option(None, min=1, help="At most this many, the newest.", show_default=False),
    audit: bool = typer.Option(
        False, "--audit", help="Instead: the unflagged records that are drawn at random, to be decided on."
    ),
    format: Format = typer.Option(Format.table, help="table for people, csv or json for programs."),
    as_json: bool = output.JSON,
) -> None:
    form = Format.json if as_json else format
    if audit:
        from flowguard.stages.audit import audit as drawn

        _tell_audit(drawn(file, batch=batch), file, form, top)
        return
    from flowguard.stages.verdicts import listed

    found = listed(file, batch=batch, top=top)
    if form is Format.json:
        rows = [_row(record) for record in found.records]
        print(json.dumps(output.plain({"verdicts": rows, "quality": found.qualities}), ensure_ascii=False))
    elif form is Format.csv:
        _write([*found.key, *_FIELDS, "record_id"], [_row(record) for record in found.records])
    elif not found.total:
        output.say("No verdict was given yet." if batch is None else f"No verdict was given on batch {batch} yet.")
        output.next_commands(f"flowguard flagged {file}", f"flowguard verdict {file} KEY confirmed")
    else:
        rows_told = [
            [
                *record.key.values(),
                record.verdict.batch,
                _said(record),
                _words(record.verdict.decision),
                record.verdict.who,
                f"{record.verdict.at:%Y-%m-%d %H:%M}",
                record.verdict.note,
            ]
            for record in found.records
        ]
        title = f"{found.total:,} verdict{'' if found.total == 1 else 's'}"
        title += f", the newest {len(found.records):,}" if found.total > len(found.records) else ""
        columns = [*found.key, "batch", "said", "verdict", "who", "when (UTC)", "note"]
        output.table(title, columns, rows_told)
        output.say("")
        for known in found.qualities:
            for line in quality_lines(known):
                output.say(line)
        output.next_commands(f"flowguard flagged {file}", f"flowguard verdicts {file} --audit")


def _tell_audit(found: Audit, file: Path, form: Format, top: int | None) -> None:
    records = found.records[:top]
    rows = [
        {**record.key, **{name: getattr(record, name) for name in ("batch", "p_value", "version")}}
        | {"verdict": record.verdict, "record_id": record.record_id}
        for record in records
    ]
    columns = [*found.key, "batch", "p_value", "version", "verdict", "record_id"]
    if form is Format.json:
        print(json.dumps(output.plain({"records": rows, "probability": found.probability}), ensure_ascii=False))
    elif form is Format.csv:
        _write(columns, rows)
    else:
        told = [
            [
                *record.key.values(),
                record.batch,
                f"{record.p_value:.2g}",
                _words(record.verdict),
                record.record_id,
            ]
            for record in records
        ]
        title = f"{len(found.records):,} unflagged records, drawn at random; {found.open:,} to be decided"
        output.table(title, [*found.key, "batch", "p_value", "verdict", "record_id"], told, right=("p_value",))
        undecided = next((record for record in found.records if record.verdict is None), None)
        if undecided is None:
            output.next_commands(f"flowguard verdicts {file}")
        else:
            output.next_commands(
                f"flowguard why {file} {undecided.record_id} --batch {undecided.batch}",
                f"flowguard verdict {file} {undecided.record_id} --batch {undecided.batch} false-alarm",
            )


def _row(record: Listed) -> dict[str, Any]:
    """A verdict as one flat row: `false_alarm` of an unflagged record means that it is ordinary."""
    entry = record.verdict
    return {
        **record.key,
        **{name: getattr(entry, name) for name in _FIELDS if name != "at"},
        "at": entry.at.isoformat(timespec="seconds"),
        "record_id": entry.record_id,
        "entry": entry.id,
    }


def _said(record: Listed) -> str:
    entry = record.verdict
    return "flagged" if entry.flagged else "unflagged, drawn" if entry.audited else "unflagged"


def _words(decision: str | None) -> str:
    return (decision or "").replace("_", " ")


def _write(columns: list[str], rows: list[dict[str, Any]]) -> None:
    from flowguard.tables.sheet import neutral

    writer = csv.writer(sys.stdout)
    writer.writerow([neutral(name) for name in columns])
    for row in rows:
        writer.writerow([neutral(row.get(name)) for name in columns])
