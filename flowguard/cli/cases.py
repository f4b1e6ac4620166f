"""The flagged records as cases: same columns, direction and context, titled in words, the heaviest first."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowguard.cli import output

if TYPE_CHECKING:
    from flowguard.stages.cases import Cases

EXAMPLE = "flowguard cases pipelines/flights.yaml --batch 2013-05-25"


def command(
    file: Path = output.PIPELINE,
    batch: str | None = typer.Option(None, help="Only this batch."),
    since: datetime | None = typer.Option(None, formats=["%Y-%m-%d"], help="Only batches from this day on."),
    case: str | None = typer.Option(None, metavar="ID", help="The records of this case, with their reasons."),
    top: int = typer.Option(20, min=1, help="At most this many cases, or records of a case."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.cases import cases
    from flowguard.stages.suppressed import suppressed_words

    with output.reporting(as_json):
        found = cases(file, batch=batch, since=since.date() if since else None)
    # Looked up first: what is not there is an error in either form.
    rows = found.rows() if case is None else [found.row(found.find(case))]

    def tell() -> None:
        if case is None:
            tell_cases(found, top)
        else:
            _tell_records(found, case, top)
        if told := suppressed_words(found.suppressed):
            output.say(f"{told} `flowguard flagged {file} --suppressed` lists them.")
        if not found.cases:
            output.next_commands(f"flowguard score {file}")
        elif case is None:
            output.next_commands(f"flowguard cases {file} --case {found.cases[0].id}", f"flowguard report {file}")
        else:
            output.next_commands(f"flowguard cases {file}", f"flowguard report {file}")

    output.emit(rows, as_json, tell)


def tell_cases(found: Cases, top: int) -> None:
    """The cases as a table for people."""
    listed = found.cases[:top]
    count = f"{len(found.cases):,} case{'' if len(found.cases) == 1 else 's'}"
    title = f"{found.grouped:,} flagged record{'' if found.grouped == 1 else 's'} in {count}"
    rows = [[case.title, case.when, f"{case.weight:,.0f}", case.id] for case in listed]
    output.table(title, ["case", "batches", "weight", "id"], rows, right=("weight",))
    if rest := found.cases[top:]:
        output.say(
            f"{len(rest):,} more with {sum(len(case.records) for case in rest):,} records: --top {top + len(rest)}"
        )
    kept = sum(found.suppressed.values())
    if found.total - kept > found.grouped:
        output.say(f"{found.total - kept - found.grouped:,} records that are less strange are in no case.")


def _tell_records(found: Cases, case_id: str, top: int) -> None:
    from flowguard.cli.flagged import tell_flagged
    from flowguard.stages.flagged import FlaggedList

    case = found.find(case_id)
    records = tuple(found.records[member] for member in case.records[:top])
    more = f" (the strangest {top})" if len(case.records) > top else ""
    tell_flagged(FlaggedList(found.key, len(case.records), records), f"{case.title}{more}")
