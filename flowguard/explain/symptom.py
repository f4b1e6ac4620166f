"""Symptoms: what is wrong with one column of a record, apart from by how much: too high, too low, missing, a level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flowguard.explain.reason import Reason
from flowguard.explain.words import MISSING, REDACTED

#: A level, or a number where the others of its column come once, is a symptom of its own from this many records on.
REPEATED = 5
#: So many more for every record that the other numbers have beyond one, on average.
OFTEN = 10.0


class Kind(StrEnum):
    """How a value is wrong."""

    high = "above"  # the expected range
    low = "below"
    value = "value"  # one number in many records, whatever was expected of each
    level = "level"  # unexpected; one level, or any where there is no text
    missing = "missing"
    odd = "odd"  # within the range, or nothing is known of it


@dataclass(frozen=True, order=True)
class Symptom:
    """What is wrong with a column; `text` is the level or the number where that is the same in many records.

    >>> Symptom("air_time", Kind.low).words, Symptom("channel", Kind.level, "fax").words
    ('air_time too low', 'channel fax')
    """

    column: str
    kind: Kind
    text: str = ""

    @property
    def words(self) -> str:
        """The symptom as people say it."""
        if self.kind is Kind.value:
            return f"{self.column} always {self.text}"
        if self.kind is Kind.level and self.text:
            return f"{self.column} {self.text}"
        return f"{self.column} {_WORDS[self.kind]}"


_WORDS = {
    Kind.high: "too high",
    Kind.low: "too low",
    Kind.missing: "missing",
    Kind.level: "with unexpected values",
    Kind.odd: "unusual",
}


def symptoms_of(reasons: Sequence[Sequence[Reason]], *, redact: Collection[str] = ()) -> list[list[Symptom]]:
    """The symptom of each reason of each record, in the same order.

    A number that comes again and again, such as that of a stuck sensor, is one symptom whether it is too high or too
    low for its record; levels that come seldom share one. Both are counted over all reasons, so the order of records
    is of no matter. Of `redact` columns nothing is said but that they are unusual.

    >>> low = Reason("a", 1, "air_time", 9.0, 9.0, 65.0, "65 min", 107.2, 121.4, "")
    >>> symptoms_of([[low]])
    [[Symptom(column='air_time', kind=<Kind.low: 'below'>, text='')]]
    """
    plain = [[symptom_of(reason, redact) for reason in its] for its in reasons]
    levels = Counter(one for its in plain for one in its if one.kind is Kind.level)
    numbers: dict[str, Counter[float | None]] = {}
    for its, mine in zip(reasons, plain):
        for reason, one in zip(its, mine):
            if one.kind in (Kind.high, Kind.low):
                numbers.setdefault(reason.column, Counter())[reason.observed] += 1
    repeated = {column: _repeated(counts) for column, counts in numbers.items()}
    return [
        [_counted(reason, one, levels, repeated) for reason, one in zip(its, mine)] for its, mine in zip(reasons, plain)
    ]


def symptom_of(reason: Reason, redact: Collection[str] = ()) -> Symptom:
    """What one reason says by itself, whatever other records have."""
    if reason.column in redact or reason.observed_text == REDACTED:
        return Symptom(reason.column, Kind.odd)
    if reason.observed is None and reason.observed_text == MISSING:
        return Symptom(reason.column, Kind.missing)
    if reason.observed is None or (reason.low is None and reason.high is None):
        return Symptom(reason.column, Kind.level, reason.observed_text)
    if reason.high is not None and reason.observed > reason.high:
        return Symptom(reason.column, Kind.high)
    if reason.low is not None and reason.observed < reason.low:
        return Symptom(reason.column, Kind.low)
    return Symptom(reason.column, Kind.odd)


def _repeated(counts: Counter[float | None]) -> frozenset[float | None]:
    """The values that stand far out from the other ones in how often they come."""
    total = sum(counts.values())

    def least(value: float | None) -> float:
        others = (total - counts[value]) / (len(counts) - 1) if len(counts) > 1 else 1.0
        return REPEATED + OFTEN * (others - 1.0)

    return frozenset(value for value, n in counts.items() if n >= least(value))


def _counted(
    reason: Reason, plain: Symptom, levels: Counter[Symptom], repeated: dict[str, frozenset[float | None]]
) -> Symptom:
    if plain.kind is Kind.level and levels[plain] < REPEATED:
        return Symptom(plain.column, Kind.level)
    if plain.kind in (Kind.high, Kind.low) and reason.observed in repeated[reason.column]:
        return Symptom(plain.column, Kind.value, reason.observed_text)
    return plain
