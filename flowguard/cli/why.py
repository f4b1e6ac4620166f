"""Why a record was flagged or not, as of the time it was scored, and what it is like."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from flowguard.cli import output

if TYPE_CHECKING:
    from flowguard.stages.outcome import Outcome
    from flowguard.stages.why import Answer, Why

EXAMPLE = "flowguard why pipelines/flights.yaml year=2013,month=5,day=25,carrier=DL,flight=1499,origin=LGA"


def command(
    file: Path = output.PIPELINE,
    key: str = typer.Argument(
        ...,
        metavar="KEY",
        help="The record: its record_id, or column=value,column=value of its key (part of it, if that is enough).",
        show_default=False,
    ),
    batch: str | None = typer.Option(None, help="Look only in this batch."),
    version: str | None = typer.Option(
        None, help="An alias or a version number; by default the one that scored the batch last.", show_default=False
    ),
    near: int = typer.Option(3, min=0, max=20, help="How many counterparts of each kind to show; 0 is fastest."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.why import why

    with output.reporting(as_json):
        answer = why(file, key, batch=batch, version=version, near=near)
    record = answer.record

    def tell() -> None:
        if record is None:
            tell_matches(answer, file)
        else:
            tell_why(record)
            named = record.outcome.batch
            refused = record.outcome.state == "quarantined"
            decide = f"flowguard verdict {file} {record.outcome.record_id} confirmed    # or false-alarm, unsure"
            output.next_commands(
                *([] if refused else [decide]), f"flowguard flagged {file} --batch {named}", f"flowguard report {file}"
            )

    output.emit(answer, as_json, tell)


def tell_matches(answer: Answer, file: Path) -> None:
    """The records that match, of which one has to be chosen."""
    shown = len(answer.matches)
    rows = [
        [*(one.key[name] for name in answer.key), one.batch, _number(one.score), _p(one), one.state, one.record_id]
        for one in answer.matches
    ]
    title = f"{answer.total:,} records match" + (f", the first {shown}" if answer.total > shown else "")
    columns = [*answer.key, "batch", "score", "p_value", "state", "record_id"]
    output.table(title, columns, rows, right=("score", "p_value"))
    output.say("\nName more of the key, a batch with --batch, or the record_id:")
    output.next_commands(f"flowguard why {file} {answer.matches[0].record_id}")


def tell_why(record: Why) -> None:
    """All of it for people: the outcome, the numbers behind it, the reasons, the counterparts."""
    outcome = record.outcome
    name = ", ".join(f"{column} {value}" for column, value in outcome.key.items()) or f"record {outcome.record_id}"
    scored = f"{outcome.scored_at[:16].replace('T', ' ')} UTC"
    state = "not flagged" if outcome.state == "ordinary" else outcome.state
    output.say(f"{name}: {state} in batch {outcome.batch} by version {outcome.version}, scored {scored}.")
    output.say(record.sentence)
    for note in record.notes:
        output.say(note)
    if record.verdicts:
        output.say(f"{record.verdicts[-1]}.")
    output.say("")
    output.table("", ["", "as it was scored"], _facts(record))
    if record.reasons:
        output.say("")
        when = "as written when it was scored" if record.written else "found now by the same version"
        ranked = [reason.contrast for reason in record.reasons]
        parts: dict[str, list[float | None]] = {
            "contrast": ranked,
            "share": [reason.share for reason in record.reasons],
        }
        parts = {name: part for name, part in parts.items() if any(map(_finite, part))}
        rows = [
            [*(f"{part[place]:+.2f}" if _finite(part[place]) else "" for part in parts.values()), reason.words]
            for place, reason in enumerate(record.reasons)
        ]
        output.table(f"Reasons, {when}", [*parts, "reason"], rows, right=tuple(parts))
    if record.ordinary:
        output.say("")
        _tell_ordinary(record)
    if record.alike:
        output.say("")
        keys = list(outcome.key)
        rows = [
            [*(one.key[name] for name in keys), one.batch, f"{one.p_value:.2g}", "\n".join(one.reasons)]
            for one in record.alike
        ]
        output.table("Other flagged records like it", [*keys, "batch", "p_value", "reasons"], rows, right=("p_value",))
    if record.others:
        output.say("")
        rows = [[str(one.version), one.scored_at[:10], _number(one.score), _p(one), one.state] for one in record.others]
        columns = ["version", "scored", "score", "p_value", "state"]
        output.table("What other versions said of it", columns, rows, right=("version", "score", "p_value"))
    if record.verdicts:
        output.say("")
        rows = [
            [
                str(one.id),
                f"{one.at:%Y-%m-%d %H:%M}",
                one.who,
                (one.decision or "taken back").replace("_", " "),
                str(one.version),
                "" if one.undoes is None else f"undoes {one.undoes}",
                one.note,
            ]
            for one in record.verdicts
        ]
        columns = ["entry", "when (UTC)", "who", "verdict", "version", "", "note"]
        output.table("What was decided on it", columns, rows, right=("entry", "version"))


def _facts(record: Why) -> list[list[str]]:
    outcome = record.outcome
    facts: list[tuple[str, str | None]] = []
    if outcome.score is not None:
        bound = "" if record.threshold is None else f"; above {_number(record.threshold)} is flagged in its cell"
        facts += [
            ("score", f"{_number(outcome.score)} ({record.score_name}){bound}"),
            ("p_value", f"{_p(outcome)}{' (extrapolated)' if record.extrapolated else ''}"),
            ("flagged at", f"{record.level:.2g} or below" if record.level else "nothing in this batch"),
            ("place", f"{record.place:,} of {record.of:,} in its batch, the strangest first"),
            (
                "cell",
                f"{record.cell}"
                + ("" if record.cell_size is None else f", {record.cell_size:,} records to rank among"),
            ),
            (
                "log_likelihood",
                f"{_number(record.log_likelihood)} = log_mass {_number(record.log_mass)} "
                f"+ log_density {_number(record.log_density)}",
            ),
        ]
    facts += [
        ("policy", record.policy),
        ("guarantee", record.guarantee),
        ("calibrated on", " to ".join(record.calibrated) or None),
        ("version", f"{outcome.version} (bundle {record.bundle[:12]})"),
        ("record_id", outcome.record_id),
        ("in the source", None if record.origin == "not looked at" else record.origin),
    ]
    return [[name, told] for name, told in facts if told]


def _tell_ordinary(record: Why) -> None:
    """The nearest ordinary records beside the record, one line per column; what differs stands out."""
    near = record.ordinary
    keys = list(record.outcome.key)
    rows: list[list[Any]] = [
        [name, record.outcome.key[name], *(one.key[name] for one in near)] for name in keys if name not in record.values
    ]
    if any(one.batch != record.outcome.batch for one in near):
        rows.append(["batch", record.outcome.batch, *(one.batch for one in near)])
    rows.append(["p_value", _p(record.outcome), *(f"{one.p_value:.2g}" for one in near)])
    for name, value in record.values.items():
        cells = [
            Text(f"≠ {output.visible(_shown(record, name, one.values[name]))}", style="bold yellow")
            if name in one.differs
            else _shown(record, name, one.values[name])
            for one in near
        ]
        rows.append([name, _shown(record, name, value), *cells])
    columns = ["", "this record", *("nearest" if not place else f"{place + 1}." for place in range(len(near)))]
    output.table("The nearest ordinary records (≠: differs)", columns, rows)


def _shown(record: Why, name: str, value: Any) -> str:
    from flowguard.explain.named import show

    return show(value, record.units.get(name))


def _number(value: float | None) -> str:
    # Adding 0 makes a minus of what rounds to nothing disappear.
    return "" if value is None else f"{round(value, 2) + 0.0:,.2f}"


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _p(outcome: Outcome) -> str:
    return "" if outcome.p_value is None else f"{outcome.p_value:.2g}"
