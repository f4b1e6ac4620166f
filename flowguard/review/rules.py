"""The scope of a rule: which flagged records it keeps from being shown, and which rule does so with a record.

A rule says of records that they are ordinary. It never touches one that has anything else wrong with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, get_args

from flowguard.errors import InputError
from flowguard.explain.leading import complete, leading
from flowguard.explain.reason import Reason
from flowguard.explain.symptom import Kind, Symptom, symptom_of
from flowguard.explain.words import number
from flowguard.store import Rule

Direction = Literal["above", "below", "missing", "level", "any"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
_KINDS = {Kind.high: "above", Kind.low: "below", Kind.missing: "missing", Kind.level: "level"}


@dataclass(frozen=True)
class Span:
    """Numbers from `at_least` to `at_most`, both included; None where there is no end.

    >>> Span(at_most=1500).holds(1137.0), Span(0, 6).holds("3"), Span(0, 6).holds(None), Span(0, 6).words
    (True, True, False, '0 to 6')
    """

    at_least: float | None = None
    at_most: float | None = None

    @property
    def open(self) -> bool:
        """Whether everything lies within, also what is no number."""
        return self.at_least is None and self.at_most is None

    @property
    def words(self) -> str:
        """The numbers as people say them."""
        if self.at_least is None or self.at_most is None:
            end = self.at_most if self.at_least is None else self.at_least
            return "" if end is None else f"at {'most' if self.at_least is None else 'least'} {number(end)}"
        return f"{number(self.at_least)} to {number(self.at_most)}"

    def holds(self, value: Any) -> bool:
        """Whether a number, or text that is one, lies within; what is no number does not."""
        if self.open:
            return True
        try:
            given = float(value)
        except (TypeError, ValueError):
            return False
        low = -math.inf if self.at_least is None else self.at_least
        return low <= given <= (math.inf if self.at_most is None else self.at_most)


@dataclass(frozen=True)
class Side:
    """A column that may be wrong: in which `direction`, and how far; beyond `span` it is told all the same."""

    column: str
    direction: Direction = "any"
    span: Span = Span()

    @property
    def words(self) -> str:
        """The column as people say what is wrong with it."""
        kind = next((kind for kind, name in _KINDS.items() if name == self.direction), None)
        said = self.column if kind is None else Symptom(self.column, kind).words
        return said if self.span.open else f"{said} ({self.span.words})"

    def holds(self, reason: Reason) -> bool:
        """Whether what the reason says is wrong in this way."""
        said = _KINDS.get(symptom_of(reason).kind, "any")
        return self.direction in ("any", said) and self.span.holds(reason.observed)


@dataclass(frozen=True)
class Condition:
    """What a column of the record must hold: one of `values`, or a number within `span` where there are none."""

    column: str
    values: tuple[str, ...] = ()
    span: Span = Span()

    @property
    def words(self) -> str:
        """The condition as people say it."""
        return f"{self.column} {' or '.join(value or 'missing' for value in self.values) or self.span.words}"

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it does; of a record whose column is not known it does not."""
        if self.column not in values:
            return False
        value = values[self.column]
        return plain(value) in self.values if self.values else not self.span.open and self.span.holds(value)


@dataclass(frozen=True)
class Scope:
    """The records of a rule: all that is wrong with them lies in `columns`, and every condition of `where` holds.

    >>> late = Reason("", 1, "dep_delay", 9.0, 9.0, 1137.0, "1,137 min", -8.2, 40.1, "")
    >>> scope = Scope.read({"columns": {"dep_delay": {"is": "above", "at_most": 1500}}, "where": {"carrier": ["HA"]}})
    >>> scope.words
    'dep_delay too high (at most 1,500), where carrier HA'
    >>> scope.covers([late], {"carrier": "HA"}), scope.covers([late], {"carrier": "AS"}), scope.covers([late], {})
    (True, False, False)
    """

    columns: tuple[Side, ...]
    where: tuple[Condition, ...] = ()

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Scope:
        """From plain JSON, as `document` gives it; raises `InputError` for what is no scope.

        `columns` has by name `is` (`any` where it is not given), `at_least` and `at_most`; `where` has by name a list
        of values, or `at_least` and `at_most`. Values are compared as text, numbers whatever their width.
        """
        _known(document, ("columns", "where"), "The scope of a rule")
        columns, where = document.get("columns") or {}, document.get("where") or {}
        if not isinstance(columns, Mapping) or not isinstance(where, Mapping) or not columns:
            raise InputError(
                "A rule names at least one column that may be wrong: one for all would keep everything away. "
                'Expected {"columns": {"dep_delay": {"is": "above", "at_most": 1500}}, "where": {"carrier": ["HA"]}}.'
            )
        return cls(
            tuple(_side(str(name), given) for name, given in columns.items()),
            tuple(_condition(str(name), given) for name, given in where.items()),
        )

    @classmethod
    def of(cls, reasons: Sequence[Reason], where: Mapping[str, Sequence[Any]] | None = None) -> Scope:
        """The narrowest scope without bounds that covers a record with these reasons; raises as `read` does."""
        said = {reason.column: _KINDS.get(symptom_of(reason).kind, "any") for reason in reasons}
        columns = {reason.column: {"is": said[reason.column]} for reason in leading(reasons)}
        for reason in leading(reasons):
            if reason.partner is not None:
                columns.setdefault(reason.partner, {"is": said.get(reason.partner, "any")})
        return cls.read({"columns": columns, "where": {name: list(values) for name, values in (where or {}).items()}})

    @property
    def document(self) -> dict[str, Any]:
        """The scope as plain JSON."""
        columns = {side.column: {"is": side.direction, **_ends(side.span)} for side in self.columns}
        where = {one.column: list(one.values) if one.values else _ends(one.span) for one in self.where}
        return {"columns": columns, "where": where}

    @property
    def words(self) -> str:
        """The scope as people say it."""
        said = ", ".join(side.words for side in self.columns)
        return f"{said}, where {' and '.join(one.words for one in self.where)}" if self.where else said

    def within(self, reasons: Sequence[Reason], *, most: int | None = None) -> bool:
        """Whether all that is wrong with a record lies in the columns, in their directions and bounds.

        Every leading reason does, and of a pair the other column too. A record without reasons is not within, nor one
        of which there may be more to tell: `most` reasons of each are written, and the last one still counts.
        """
        counted = leading(reasons)
        if not counted or (most is not None and not complete(reasons, most)):
            return False
        sides = {side.column: side for side in self.columns}
        every = {reason.column: reason for reason in reversed(reasons)}
        for reason in counted:
            if reason.column not in sides or not sides[reason.column].holds(reason):
                return False
            if reason.partner is not None and not _holds(sides.get(reason.partner), every.get(reason.partner)):
                return False
        return True

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether every condition holds of a record with these values, by column of the source."""
        return all(condition.holds(values) for condition in self.where)

    def covers(self, reasons: Sequence[Reason], values: Mapping[str, Any], *, most: int | None = None) -> bool:
        """Whether a record with these reasons and values is kept from being shown."""
        return self.within(reasons, most=most) and self.holds(values)


def first_covering(
    rules: Sequence[Rule],
    reasons: Sequence[Reason],
    values: Mapping[str, Any],
    at: datetime,
    *,
    most: int | None = None,
) -> int | None:
    """The id of the first rule that keeps a record from being shown, None where it is shown.

    Only rules count that were active `at` the moment its batch was scored. `values` are its columns as the source has
    them, its key included; of `most` see `Scope.within`: it is the pipeline's `output.reasons`.
    """
    for rule in sorted(rules, key=lambda rule: rule.id):
        if rule.active(at) and scope_of(rule).covers(reasons, values, most=most):
            return rule.id
    return None


def scope_of(rule: Rule) -> Scope:
    """The scope of a stored rule."""
    return _scope(json.dumps(rule.scope))


@lru_cache(maxsize=1024)
def _scope(text: str) -> Scope:
    return Scope.read(json.loads(text))


def plain(value: Any) -> str:
    """A value as conditions compare it: numbers whatever their width, "" for what is missing.

    >>> plain(5.0), plain("5"), plain(True), plain(None), plain(float("nan"))
    ('5', '5', 'true', '', '')
    """
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**53:
        return str(int(value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _holds(side: Side | None, reason: Reason | None) -> bool:
    """Whether the other column of a pair lies within; where nothing is told of it, only in any direction."""
    if side is None:
        return False
    return side.direction == "any" and side.span.open if reason is None else side.holds(reason)


def _side(name: str, given: Any) -> Side:
    given = {} if given is None else given
    _known(given, ("is", "at_least", "at_most"), f"The column {name} of a rule")
    direction = given.get("is", "any")
    if direction not in DIRECTIONS:
        raise InputError(f"The column {name} of a rule is {direction!r}; expected one of {', '.join(DIRECTIONS)}.")
    span = _span(name, given)
    if not span.open and direction in ("missing", "level"):
        raise InputError(f"The column {name} of a rule is {direction}, which has no bounds: leave {span.words!r} out.")
    return Side(name, direction, span)


def _condition(name: str, given: Any) -> Condition:
    if isinstance(given, Mapping):
        _known(given, ("at_least", "at_most"), f"The condition on {name}")
        span = _span(name, given)
        if span.open:
            raise InputError(f"The condition on {name} says nothing. Give its values, at_least, or at_most.")
        return Condition(name, span=span)
    values = list(given) if isinstance(given, list | tuple) else [given]
    if not values or any(isinstance(value, Mapping | list | tuple) for value in values):
        raise InputError(f"The condition on {name} is {given!r}; expected a list of values, or at_least and at_most.")
    return Condition(name, tuple(dict.fromkeys(plain(value) for value in values)))


def _span(name: str, given: Mapping[str, Any]) -> Span:
    ends = []
    for end in ("at_least", "at_most"):
        value = given.get(end)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
        ):
            raise InputError(f"{end} of {name} is {value!r} in a rule; expected a number.")
        ends.append(None if value is None else float(value))
    if ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
        raise InputError(f"Nothing lies from {ends[0]:g} to {ends[1]:g}, which a rule says of {name}. Swap them.")
    return Span(*ends)


def _known(given: Any, names: Sequence[str], what: str) -> None:
    if not isinstance(given, Mapping):
        raise InputError(f"{what} is {given!r}; expected {', '.join(names)}.")
    strange = [str(name) for name in given if name not in names]
    if strange:
        raise InputError(f"{what} has {', '.join(map(repr, strange))}; expected {', '.join(names)}.")


def _ends(span: Span) -> dict[str, float]:
    ends = {"at_least": span.at_least, "at_most": span.at_most}
    return {name: end for name, end in ends.items() if end is not None}
