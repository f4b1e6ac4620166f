"""What stands in the desk's queue: batches, records, cases, and how a list of records is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from flowguard.store.verdicts import Decision

#: What a list of records may be limited to: those nobody decided on, or one decision.
State = Literal["open", "decided", "confirmed", "false_alarm", "unsure"]
STATES: tuple[State, ...] = get_args(State)
#: By what flagged it, and what is not shown unless it is asked for: unflagged ones drawn at random, and those that a
#: rule keeps away.
Kind = Literal["flagged", "drawn", "suppressed"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: How a list is sorted: smallest p-value first, newest batch first, or by key.
Order = Literal["strangest", "newest", "key"]
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True)
class QueuedBatch:
    """A scored batch as the desk shows it: read = scored + quarantined records. `document` holds what JSON can."""

    pipeline: str
    batch: str
    version: int
    bundle: str
    fingerprint: str
    read: int
    scored: int
    flagged: int
    quarantined: int
    document: Mapping[str, Any]
    scored_at: datetime


@dataclass(frozen=True)
class QueuedRecord:
    """A record that is to be decided on: flagged, or `audited`, which is drawn at random from the unflagged.

    `rule` keeps it from being shown, None where none does. `entry` is the id of the last verdict on it, whichever
    batch that was given in; `decision` what was decided on it in this batch, and `who` by whom. `search` is its key in
    words, `marks` its reasons' columns (of the name "") and its context as text, `document` the rest of it.
    """

    batch: str
    record_id: str
    version: int
    flagged: bool
    audited: bool
    score: float
    p_value: float
    search: str
    document: Mapping[str, Any]
    case_id: str | None = None
    rule: int | None = None
    entry: int | None = None
    decision: Decision | None = None
    who: str | None = None
    marks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class QueuedCase:
    """A case of one batch, and of its `records` there those that are `open`: nobody decided on them."""

    case_id: str
    document: Mapping[str, Any]
    records: int = 0
    open: int = 0


@dataclass(frozen=True)
class Tally:
    """How many records of a batch are flagged and in which state; `drawn` unflagged ones, `drawn_open` undecided.

    flagged = suppressed + open + confirmed + false_alarm + unsure.
    """

    open: int = 0
    confirmed: int = 0
    false_alarm: int = 0
    unsure: int = 0
    suppressed: int = 0
    drawn: int = 0
    drawn_open: int = 0

    @property
    def decided(self) -> int:
        """Flagged records that somebody decided on."""
        return self.confirmed + self.false_alarm + self.unsure


@dataclass(frozen=True)
class Wanted:
    """Which records a list has: all conditions hold at once. `context` maps names to the text of a value.

    `text` must occur in a record's key or be its id. p-values lie in [`p_least`, `p_most`].
    """

    batch: str | None = None
    kind: Kind = "flagged"
    state: State | None = None
    case_id: str | None = None
    column: str | None = None
    version: int | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    p_least: float | None = None
    p_most: float | None = None
    text: str = ""
    order: Order = "strangest"
