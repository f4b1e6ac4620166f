"""A rule as its form shows it: drafted from a record, then as somebody filled it in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from starlette.datastructures import FormData, QueryParams

from flowguard.errors import InputError
from flowguard.explain.leading import leading
from flowguard.reports.cells import cell
from flowguard.review import Scope
from flowguard.stages.queued import reasons_of, values_of
from flowguard.store import LASTS, QueuedRecord

WORDS = {
    "above": "too high",
    "below": "too low",
    "missing": "missing",
    "level": "an unexpected value",
    "any": "wrong in any way",
}
"""What a direction is called on a page."""
LONGEST_DAYS = 365
"""The last day that a rule may be given; what it is made on counts, too."""


@dataclass(frozen=True)
class Side:
    """A column that may be wrong; `said` is what was wrong with it in the record, `bound` beyond which it is told."""

    column: str
    chosen: bool
    direction: str
    said: str
    bound: str = ""


@dataclass(frozen=True)
class Value:
    """A value of the record that others are to have too; `usual` for one of few values, such as a carrier."""

    column: str
    shown: str
    chosen: bool
    usual: bool


@dataclass(frozen=True)
class Draft:
    """The fields of the form."""

    sides: tuple[Side, ...]
    values: tuple[Value, ...]
    until: str
    why: str = ""

    def filled(self, form: FormData | QueryParams) -> Draft:
        """The draft as the form says it; of columns that the record has no reason of and no value, nothing."""
        columns, where = set(form.getlist("column")), set(form.getlist("where"))
        return replace(
            self,
            sides=tuple(
                replace(
                    side,
                    chosen=side.column in columns,
                    direction=str(form.get(f"is.{side.column}", side.direction)),
                    bound=str(form.get(f"bound.{side.column}", "")).strip(),
                )
                for side in self.sides
            ),
            values=tuple(replace(value, chosen=value.column in where) for value in self.values),
            until=str(form.get("until", self.until)),
            why=str(form.get("why", "")).strip(),
        )

    def scope(self, record: QueuedRecord) -> Scope:
        """What it says; raises `InputError` for no column, or a bound that is none."""
        chosen = [side for side in self.sides if side.chosen]
        if not chosen:
            raise InputError("Choose at least one column that may be wrong: a rule for all would keep everything away.")
        values = values_of(record)
        return Scope.read(
            {
                "columns": {side.column: {"is": side.direction, **_bound(side)} for side in chosen},
                "where": {value.column: [values[value.column]] for value in self.values if value.chosen},
            }
        )

    def ends(self, today: date) -> datetime:
        """The end of its last day; raises `InputError` for what is no day, or none that a rule may end on."""
        last = today + timedelta(LONGEST_DAYS)
        try:
            day = date.fromisoformat(self.until)
        except ValueError:
            raise InputError(f"The last day is {self.until[:40]!r}; expected one such as {last.isoformat()}.") from None
        if not today <= day <= last:
            raise InputError(f"The last day is {day.isoformat()}; expected one from today to {last.isoformat()}.")
        return datetime.combine(day, time(23, 59, 59), tzinfo=UTC)


def drafted(record: QueuedRecord, levels: Collection[str], today: date) -> Draft:
    """The narrowest rule without bounds for a record: its leading reasons, and its values of the columns `levels`.

    Raises `InputError` for a record without reasons.
    """
    reasons = reasons_of(record)
    if not reasons:
        raise InputError(
            "No reasons are kept of this record, so that no rule can be drafted from it. A rule says what may be wrong "
            "with a record; `flowguard rules FILE add` makes one from columns that you name."
        )
    narrow = Scope.of(reasons).document["columns"]
    said = {reason.column: reason.words for reason in reversed(reasons)}
    names = dict.fromkeys([reason.column for reason in leading(reasons)] + [*narrow] + [one.column for one in reasons])
    own = {reason.column: Scope.of([reason]).document["columns"][reason.column] for reason in reversed(reasons)}
    sides = tuple(
        Side(name, name in narrow, (narrow.get(name) or own[name])["is"], said.get(name, "")) for name in names
    )
    values = values_of(record)
    offered = [name for name in levels if name in values] + [name for name in values if name not in levels]
    return Draft(
        sides,
        tuple(Value(name, cell(values[name]), name in levels, name in levels) for name in offered if name not in names),
        until=(today + LASTS).isoformat(),
    )


def today() -> date:
    """The day in UTC, as rules end."""
    return datetime.now(UTC).date()


def _bound(side: Side) -> dict[str, float]:
    if not side.bound:
        return {}
    if side.direction not in ("above", "below"):
        raise InputError(
            f"A bound goes with {WORDS['above']} or {WORDS['below']}; {side.column} is {WORDS.get(side.direction)}. "
            "Leave the bound out, or choose one of these."
        )
    try:
        value = float(side.bound)
    except ValueError:
        raise InputError(f"The bound of {side.column} is {side.bound[:40]!r}; expected a number.") from None
    return {"at_most" if side.direction == "above" else "at_least": value}
