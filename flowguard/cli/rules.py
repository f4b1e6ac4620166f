"""Rules that keep flagged records which are ordinary from being shown: list, add, revoke, audit.

A rule counts for batches that are scored while it is in force. Flags and files stay as they are; what a rule keeps away
is left out where people look, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flowguard.cli import output
from flowguard.errors import InputError

if TYPE_CHECKING:
    from flowguard.stages.rules import Audit, Listed, Preview

EXAMPLE = (
    "flowguard rules pipelines/flights.yaml add --column dep_delay=above:1500 --column arr_delay=above "
    '--where carrier=HA --why "one flight a day, and it waits for its connections"'
)


class Action(StrEnum):
    """What is done."""

    list = "list"
    add = "add"
    revoke = "revoke"
    audit = "audit"


def command(
    file: Path = output.PIPELINE,
    action: Action = typer.Argument(Action.list, help="list, add, revoke NUMBER, or audit [NUMBER]."),
    number: int | None = typer.Argument(None, metavar="[NUMBER]", min=1, help="A rule's number.", show_default=False),
    column: list[str] = typer.Option(
        [],
        metavar="NAME[=DIRECTION[:BOUND]]",
        help="A column that may be wrong: above, below (what is expected), missing, level or any; a value beyond the "
        "bound is told all the same. Give every column that may be wrong; a record with another one is told.",
    ),
    where: list[str] = typer.Option(
        [],
        metavar="NAME=VALUE",
        help="Only records that have this value, or a number in LOW..HIGH. The same name again: one of these.",
    ),
    why: str = typer.Option("", help="With add: why what it keeps away is ordinary.", show_default=False),
    who: str = typer.Option(
        "", help="Who made or revoked it; by default the user of this machine.", show_default=False
    ),
    days: int | None = typer.Option(
        None, min=1, max=366, help="With add: it ends after so many days, by default 90.", show_default=False
    ),
    preview: bool = typer.Option(False, "--preview", help="With add: only tell what it would have kept away."),
    last: int | None = typer.Option(
        None, min=0, help="With add: tell it of so many of the last batches, by default 30.", show_default=False
    ),
    top: int = typer.Option(20, min=1, help="With audit: at most so many records."),
    as_json: bool = output.JSON,
) -> None:
    meant = {"--column": column, "--where": where, "--preview": preview, "--why": why, "--days": days, "--last": last}
    _fit(action, number, column, [name for name, value in meant.items() if value not in (None, "", [], False)])
    from flowguard.stages import rules
    from flowguard.stages.queued import apply_rules

    if action is Action.list:
        found = rules.listed(file)
        output.emit([_row(one) for one in found], as_json, lambda: _tell(found, file))
    elif action is Action.revoke:
        assert number is not None
        gone = rules.revoke(file, number, who=who)
        apply_rules(file, since=gone.rule.revoked_at)

        def tell_revoked() -> None:
            output.say(f"Rule {gone.rule.id} ({gone.scope}) is revoked, by {gone.rule.revoked_by}.")
            output.say("What it kept away of batches that are scored already stays so, until they are scored again.")
            output.next_commands(f"flowguard rules {file}", f"flowguard flagged {file} --suppressed")

        output.emit(_row(gone), as_json, tell_revoked)
    elif action is Action.audit:
        with output.reporting(as_json):
            kept = rules.audit(file, rule=number, top=top)
        output.emit(_audit_row(kept), as_json, lambda: _tell_audit(kept, file))
    else:
        scope, looked = _scope(column, where), 30 if last is None else last
        with output.reporting(as_json):
            if preview:
                seen = rules.preview(file, scope, batches=looked)
                output.emit({"scope": scope.document, "preview": _plain(seen)}, as_json, lambda: _tell_preview(seen))
                return
            made = rules.make(file, scope, why=why, who=who, lasts=timedelta(days or 90), batches=looked)
            # A run that was scoring meanwhile has queued its batch without the rule.
            apply_rules(file, since=made.rule.made_at)

        def tell_made() -> None:
            rule = made.rule
            output.say(f"Rule {rule.id}: {made.preview.scope}. By {rule.who}, until {rule.expires_at:%Y-%m-%d}.")
            _tell_preview(made.preview)
            output.say("It counts for batches that are scored from now on.")
            output.next_commands(f"flowguard rules {file}", f"flowguard rules {file} revoke {rule.id}")

        output.emit({"rule": made.rule, "preview": _plain(made.preview)}, as_json, tell_made)


def _fit(action: Action, number: int | None, column: list[str], meant: list[str]) -> None:
    """Refuse what has no meaning with the action."""
    if action is Action.revoke and number is None:
        raise InputError("Which rule is to be revoked? Give its number: flowguard rules FILE revoke NUMBER.")
    if number is not None and action not in (Action.revoke, Action.audit):
        raise InputError(f"A number goes with revoke or audit, not with {action.value}: leave {number} out.")
    if action is not Action.add and meant:
        raise InputError(f"{', '.join(meant)}: these go with add, not with {action.value}.")
    if action is Action.add and not column:
        raise InputError("Name with --column every column that may be wrong; `flowguard rules --help` has an example.")


def _scope(column: list[str], where: list[str]) -> Any:
    """What the options say, as a scope."""
    from flowguard.review import DIRECTIONS, Scope

    columns: dict[str, dict[str, Any]] = {}
    for text in column:
        name, mark, rest = text.rpartition("=")
        direction, _, bound = rest.partition(":")
        if not mark:
            name, direction, bound = text, "any", ""
        if name in columns:
            raise InputError(
                f"--column names {name} twice; a rule says one thing of a column. `any` is every direction."
            )
        if direction not in DIRECTIONS:
            raise InputError(
                f"--column {text}: found {direction!r} after `=`; expected one of {', '.join(DIRECTIONS)}."
            )
        ends = _bound(text, direction, bound) if bound else {}
        columns[name] = {"is": direction, **ends}
    conditions: dict[str, Any] = {}
    for text in where:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise InputError(f"--where {text}: expected NAME=VALUE, or NAME=LOW..HIGH.")
        span = _range(value)
        if (span is not None and name in conditions) or isinstance(conditions.get(name), Mapping):
            raise InputError(f"--where gives {name} a range and more; expected one range, or values.")
        conditions[name] = [*conditions.get(name, []), value] if span is None else span
    return Scope.read({"columns": columns, "where": conditions})


def _bound(text: str, direction: str, bound: str) -> dict[str, float]:
    """A bound: how far above or below is ordinary, or a range."""
    ends = _range(bound)
    if ends is not None:
        return ends
    try:
        value = float(bound)
    except ValueError:
        raise InputError(f"--column {text}: the bound {bound!r} is no number.") from None
    if direction not in ("above", "below"):
        raise InputError(f"--column {text}: of {direction} a bound is a range, LOW..HIGH.")
    return {"at_most" if direction == "above" else "at_least": value}


def _range(text: str) -> dict[str, float] | None:
    """LOW..HIGH, ..HIGH or LOW.. as bounds; None for what is no range of numbers.

    >>> _range("0..6"), _range("..-1.5"), _range("a..b"), _range("..")
    ({'at_least': 0.0, 'at_most': 6.0}, {'at_most': -1.5}, None, None)
    """
    low, mark, high = text.partition("..")
    try:
        ends = {name: float(end) for name, end in (("at_least", low), ("at_most", high)) if end.strip()}
    except ValueError:
        return None
    return ends if mark and ends else None


def _tell(found: tuple[Listed, ...], file: Path) -> None:
    if not found:
        output.say("No rule was made yet: every flagged record is shown.")
        output.next_commands(f"flowguard flagged {file}", "flowguard rules --help")
        return
    rows = [
        [
            str(one.rule.id),
            one.scope,
            one.state if one.state != "revoked" else f"revoked by {one.rule.revoked_by}",
            f"{one.rule.made_at:%Y-%m-%d}",
            f"{one.rule.until:%Y-%m-%d}",
            one.rule.who,
            one.rule.why,
        ]
        for one in found
    ]
    active = sum(one.state == "active" for one in found)
    title = f"{len(found):,} rule{'' if len(found) == 1 else 's'}, {active:,} active"
    output.table(title, ["rule", "not shown", "state", "from", "until", "who", "why"], rows, right=("rule",))
    output.next_commands(f"flowguard rules {file} audit", f"flowguard flagged {file} --suppressed")


def _tell_preview(seen: Preview) -> None:
    among = f"of the {seen.flagged:,} flagged records of the last {seen.batches:,} batches"
    per = f", in {len(seen.of):,} of them" if seen.of else ""
    output.say(f"It would have kept {seen.covered:,} {among} away{per}.")
    _warn(seen.decided)


def _tell_audit(kept: Audit, file: Path) -> None:
    from flowguard.cli.flagged import tell_flagged
    from flowguard.stages.flagged import FlaggedList

    if not kept.rules:
        output.say("No rule was made yet: every flagged record is shown.")
        output.next_commands(f"flowguard flagged {file}")
        return
    rows = [[str(one.rule.id), one.scope, f"{one.total:,}", f"{len(one.of):,}"] for one in kept.rules]
    title = f"What rules kept away of {kept.flagged:,} flagged records in {kept.batches:,} batches"
    output.table(title, ["rule", "not shown", "records", "batches"], rows, right=("rule", "records", "batches"))
    counts = {one.rule.id: one.total for one in kept.rules}
    if kept.records:
        output.say("")
        total = sum(counts.values())
        more = f", the strangest {len(kept.records)}" if total > len(kept.records) else ""
        tell_flagged(FlaggedList(kept.key, total, kept.records), f"{total:,} records not shown{more}")
    for one in kept.rules:
        _warn(one.decided, f"rule {one.rule.id}")
    output.next_commands(f"flowguard rules {file}", f"flowguard flagged {file}")


def _warn(decided: Mapping[Any, int], rule: str = "the rule") -> None:
    """Say so where a rule keeps away what people have called an anomaly."""
    confirmed = decided.get("confirmed", 0)
    if confirmed:
        was = "1 of these records was" if confirmed == 1 else f"{confirmed:,} of these records were"
        output.say(f"{was} confirmed as anomalies: {rule} hides such. Narrow it, or revoke it.")


def _row(one: Listed) -> dict[str, Any]:
    rule = one.rule
    return {
        "rule": rule.id,
        "state": one.state,
        "scope": rule.scope,
        "words": one.scope,
        "why": rule.why,
        "who": rule.who,
        "made_at": rule.made_at,
        "expires_at": rule.expires_at,
        "revoked_by": rule.revoked_by,
        "revoked_at": rule.revoked_at,
    }


def _plain(seen: Preview) -> dict[str, Any]:
    return {
        "words": seen.scope,
        "batches": seen.batches,
        "flagged": seen.flagged,
        "covered": seen.covered,
        "by_batch": seen.of,
        "verdicts": seen.decided,
        "strangest": [record.row() for record in seen.strangest],
    }


def _audit_row(kept: Audit) -> dict[str, Any]:
    return {
        "batches": kept.batches,
        "flagged": kept.flagged,
        "rules": [
            {"rule": one.rule.id, "words": one.scope, "kept": one.total, "by_batch": one.of, "verdicts": one.decided}
            for one in kept.rules
        ],
        "records": [record.row() for record in kept.records],
    }
