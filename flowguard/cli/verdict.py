"""Decide on a record: confirmed (an anomaly), false-alarm, or unsure."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowguard.cli import output
from flowguard.errors import InputError

if TYPE_CHECKING:
    from flowguard.review import Quality

EXAMPLE = 'flowguard verdict pipelines/orders.yaml order=1499 false-alarm --note "a bulk order, as every May"'


class Word(StrEnum):
    """What is decided."""

    confirmed = "confirmed"
    false_alarm = "false-alarm"
    unsure = "unsure"


def command(
    file: Path = output.PIPELINE,
    key: str = typer.Argument(..., metavar="KEY", help="The record, as `flowguard why` takes it.", show_default=False),
    decision: Word | None = typer.Argument(None, help="confirmed, false-alarm or unsure.", show_default=False),
    note: str = typer.Option("", help="Kept with the verdict."),
    who: str = typer.Option("", help="Who decided; by default the user of this machine.", show_default=False),
    case: bool = typer.Option(
        False, "--case", help="KEY is a case of `flowguard cases`: all of its records, or none, are decided on."
    ),
    undo: bool = typer.Option(False, "--undo", help="Take back the last verdict: the one before it stands again."),
    seen: int | None = typer.Option(
        None, min=1, metavar="ENTRY", help="Somebody else's verdict that you have read; of a case, the last one."
    ),
    batch: str | None = typer.Option(None, help="The record in this batch."),
    version: str | None = typer.Option(
        None, help="An alias or a version number; by default the one that scored the batch last.", show_default=False
    ),
    as_json: bool = output.JSON,
) -> None:
    if undo == (decision is not None):
        raise InputError(
            "A verdict is confirmed, false-alarm or unsure, or --undo takes the last one back: give one of these"
            + (", not both." if undo else ".")
        )
    if version is not None and (undo or case):
        what = (
            "--undo takes back the last verdict, whichever version it was given on" if undo else "A case is of batches"
        )
        raise InputError(f"{what}: leave --version out.")
    from flowguard.stages import verdicts

    if case:
        _command_case(file, key, decision, note=note, who=who, seen=seen, batch=batch, as_json=as_json)
        return
    if decision is None:
        done = verdicts.undo(file, key, note=note, who=who, seen=seen, batch=batch)
    else:
        word = verdicts.WORDS[decision.value]
        done = verdicts.decide(file, key, word, note=note, who=who, seen=seen, batch=batch, version=version)

    def tell() -> None:
        entry, before = done.entry, done.before
        name = ", ".join(f"{column} {value}" for column, value in done.key.items()) or f"record {entry.record_id}"
        stands = "no verdict" if entry.decision is None else entry.decision.replace("_", " ")
        output.say(f"{name}: {stands}, by {entry.who} (entry {entry.id}).")
        state = "flagged" if entry.flagged else "not flagged, drawn at random" if entry.audited else "not flagged"
        output.say(f"In batch {entry.batch} by version {entry.version}: {state}, p_value {entry.p_value:.2g}.")
        if before is not None:
            output.say(f"Before: {before} (entry {before.id}).")
        for line in quality_lines(done.quality):
            output.say(line)
        for sentence in done.notes:
            output.say(sentence)
        output.next_commands(
            f"flowguard verdicts {file}",
            f"flowguard verdict {file} {entry.record_id} --undo"
            if entry.decision is not None
            else f"flowguard why {file} {entry.record_id}",
        )

    output.emit(done, as_json, tell)


def _command_case(
    file: Path,
    case_id: str,
    decision: Word | None,
    *,
    note: str,
    who: str,
    seen: int | None,
    batch: str | None,
    as_json: bool,
) -> None:
    from flowguard.stages.case_verdicts import decide_case, undo_case
    from flowguard.stages.verdicts import WORDS

    with output.reporting(as_json):
        if decision is None:
            done = undo_case(file, case_id, note=note, who=who, seen=seen, batch=batch)
        else:
            word = WORDS[decision.value]
            done = decide_case(file, case_id, word, note=note, who=who, seen=seen, batch=batch)

    def tell() -> None:
        stands = "taken back" if decision is None else decision.value.replace("-", " ")
        last = done.entries[-1]
        count = f"{len(done.entries):,} record{'' if len(done.entries) == 1 else 's'}"
        output.say(f"Case {case_id}: {count} {stands}, by {last.who} (entries {done.entries[0].id} to {last.id}).")
        for known in done.qualities:
            for line in quality_lines(known):
                output.say(line)
        for sentence in done.notes:
            output.say(sentence)
        again = [] if decision is None else [f"flowguard verdict {file} {case_id} --case --undo"]
        output.next_commands(f"flowguard verdicts {file}", *again)

    output.emit(done, as_json, tell)


def quality_lines(known: Quality) -> list[str]:
    """What verdicts say of a version, in sentences."""
    lines = []
    for share, what, of, few in (
        (known.precision, "Precision", "flagged", ""),
        (known.missed, "Missed", "unflagged", " (`flowguard verdicts FILE --audit` lists them)"),
    ):
        unsure = f", {share.unsure:,} unsure left out" if share.unsure else ""
        if share.estimate is None:
            drawn = "" if of == "flagged" else " drawn at random"
            lines.append(f"{what}, version {known.version}: unknown, no {of} record{drawn} was decided{few}{unsure}.")
            continue
        among = f"{share.size:,} {of} record{_s(share.size)} in {share.batches:,} batch{_s(share.batches, 'es')}"
        lines.append(f"{what}, version {known.version}: {share} of {among}, by {share.decided:,} decided{unsure}.")
    if known.auroc.enough:
        lines.append(_auroc_line(known))
    part, bounds = known.precision, known.precision.bounds
    if bounds is not None and part.decided < part.size:
        low, high = (output.percent(end) for end in bounds)
        lines.append(
            f"{part.size - part.decided:,} flagged records of these batches are undecided: the precision is as if the "
            f"decided were drawn at random; whatever the others are, it is {low} to {high} of them all."
        )
    if known.stray:
        lines.append(
            f"{known.stray:,} more verdicts count for neither: on unflagged records that were not drawn at random, "
            "or in batches that the store does not know."
        )
    return lines


def _auroc_line(known: Quality) -> str:
    """How well a version ranks, with what little the missed anomalies may leave unknown."""
    found = known.auroc
    line = (
        f"AUROC, version {known.version}: {found} of all records in {found.batches:,} batch{_s(found.batches, 'es')}, "
        f"by {found.confirmed:,} anomalies and {found.ordinary:,} ordinary records decided"
    )
    if found.missed:
        return f"{line}, {found.missed:,} of the anomalies drawn from the unflagged."
    return f"{line}; none of {found.drawn:,} drawn ones was an anomaly: how it ranks those that it missed is unknown."


def _s(count: int, plural: str = "s") -> str:
    return "" if count == 1 else plural
