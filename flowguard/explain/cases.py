"""Cases: flagged records with one common cause, as far as their reasons and their context tell."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from flowguard.explain.distance import BETWEEN, FEW, SMALL, distance, gap_in, rule
from flowguard.explain.leading import ALONE, contrast_of, finite, leading, strength_of
from flowguard.explain.reason import Reason
from flowguard.explain.setting import Common, Settings
from flowguard.explain.symptom import Kind, Symptom, symptoms_of
from flowguard.explain.words import percent

#: A record counts at most so many nats: beyond, it is no stranger to a person, and would outweigh a hundred others.
MOST = 100.0
#: A symptom belongs to a case where this part of its records have it.
SHARED = 0.5
#: It may be the cause where this part has it.
MOSTLY = 0.8
#: Records with a further symptom stand apart from the rest where at most this part of the rest has a trace of it.
TRACE = 0.1

UNKNOWN = Symptom("", Kind.odd)

Rows = NDArray[np.intp]


class Suspect(Protocol):
    """A flagged record: what `find_cases` reads of it."""

    @property
    def batch(self) -> str: ...
    @property
    def record_id(self) -> str: ...
    @property
    def reasons(self) -> Sequence[Reason]: ...


class Member(NamedTuple):
    """A record of a case; ids are unique within a batch."""

    batch: str
    record_id: str


@dataclass(frozen=True)
class Case:
    """Flagged records with the same columns wrong in the same direction, and the context that sets them apart.

    `what` says what is wrong, of `symptoms`; `id` follows from that alone: the same from run to run, and while records
    come in. `context` is what `context_share` of the records have in common and others of their batches have not.
    `records` are strangest first; `weight` is the sum over them of the nats that the case's columns cost each, at most
    `MOST`: their contrast where reasons have one, else their shares. `first` and `last` are batches (days, where a
    batch is a day), of which `batches` have such records.
    """

    id: str
    what: str
    symptoms: tuple[Symptom, ...]
    context: tuple[str, ...]
    context_share: float
    records: tuple[Member, ...]
    weight: float
    first: str
    last: str
    batches: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are wrong, the one that leads first."""
        return tuple(symptom.column for symptom in self.symptoms)

    @property
    def title(self) -> str:
        """The case in words, such as "air_time too low: 120 records, LGA, DL (97 % of them)"."""
        n = len(self.records)
        said = f"{self.what}: {n:,} record{'' if n == 1 else 's'}"
        return f"{said}, {self.setting}" if self.context else said

    @property
    def setting(self) -> str:
        """The context that most of its records have, in words; "" for none."""
        if not self.context:
            return ""
        share = "all" if self.context_share == 1.0 else percent(self.context_share)
        return f"{', '.join(self.context)} ({share} of them)"

    @property
    def when(self) -> str:
        """Its batches in words."""
        if self.batches == 1:
            return self.first
        return f"{self.first} to {self.last}" + (f" ({self.batches:,})" if self.batches > 2 else "")

    @property
    def directions(self) -> tuple[str, ...]:
        """How each of `columns` is wrong: above or below the expected range, missing, a level, one value."""
        return tuple(symptom.kind.value for symptom in self.symptoms)


def find_cases(
    records: Sequence[Suspect],
    settings: Settings | None = None,
    *,
    order: Sequence[str] = (),
    redact: Collection[str] = (),
) -> list[Case]:
    """The flagged records as cases, the heaviest first; every record is in exactly one.

    1. Of each record the leading reasons count (`leading`): those with at least `LEADING` of its largest share, or
       `ALONE` nats. Each is a symptom: a column and how it is wrong.
    2. The symptom that explains the most (the parts of their shares that it has, over all records that are left) makes
       a case of all records that it leads in; and so on with the rest. Consequences go with their cause, as most
       records that have them have the cause as well.
    3. A case is parted where some of its records have a context that others have not (`Settings.apart`), a further
       symptom that others have not, or lie out of range by far more than the rest.

    Neither the order of records nor how they came in batches is of any matter. `settings` are the columns of context,
    of the same records in the same order; without them cases have none. `order` is that in which the model explains
    columns: where reasons have no contrast, what follows from a wrong column has a share too, and the first is the
    cause. No value of `redact` columns is told.

    >>> from types import SimpleNamespace as Flagged
    >>> low = Reason("", 1, "air_time", 9.0, 9.0, 65.0, "65 min", 107.2, 121.4, "air_time 65 min; 107 to 121 expected")
    >>> [case] = find_cases([Flagged(batch="2013-05-25", record_id=i, reasons=[low]) for i in "ab"])
    >>> case.title, case.weight
    ('air_time too low: 2 records', 18.0)
    """
    if not records:
        return []
    rows = sorted(range(len(records)), key=lambda i: (records[i].batch, records[i].record_id))
    found = _Found([records[i] for i in rows], np.array(rows, dtype=np.intp), settings, order, redact)
    cases = [
        found.case(rows, _id(symptom, apart), symptom, far=far)
        for group, symptom in found.groups()
        for rows, apart, far in found.parts(group)
    ]
    return sorted(cases, key=lambda case: (-case.weight, case.id))


class _Found:
    """The records in order of batch and id, with their leading symptoms."""

    def __init__(
        self,
        records: Sequence[Suspect],
        given: Rows,
        settings: Settings | None,
        order: Sequence[str],
        redact: Collection[str],
    ) -> None:
        self.records = records
        self.given = given
        self.settings = settings
        self.place = {column: place for place, column in enumerate(order)}
        reasons = [leading(record.reasons) for record in records]
        self.every = [{reason.column: reason for reason in record.reasons} for record in records]
        self.given_at_most = max(len(its) for its in self.every)
        self.reasons = [
            dict(zip(symptoms, its)) if its else {UNKNOWN: None}
            for its, symptoms in zip(reasons, symptoms_of(reasons, redact=redact), strict=True)
        ]
        self.symptoms = sorted({symptom for its in self.reasons for symptom in its})

    def groups(self) -> list[tuple[Rows, Symptom]]:
        """Step 2: every record in one group, each with the symptom that leads it."""
        place = {symptom: i for i, symptom in enumerate(self.symptoms)}
        row, column, part = [], [], []
        for i, its in enumerate(self.reasons):
            strengths = [strength_of(reason) for reason in its.values()]
            for symptom, strength in zip(its, strengths):
                row.append(i)
                column.append(place[symptom])
                # Whole numbers: their sums do not depend on the order of adding.
                part.append(round(1e6 * strength / sum(strengths)))
        rows, columns, parts = np.array(row), np.array(column), np.array(part, dtype=np.int64)
        gain = np.zeros(len(place), dtype=np.int64)
        np.add.at(gain, columns, parts)
        by_symptom = _grouped(columns, len(place))
        by_record = _grouped(rows, len(self.records))
        free = np.ones(len(self.records), dtype=bool)
        found = []
        while free.any():
            best = int(np.argmax(gain))
            mine = rows[by_symptom[best]]
            mine = mine[free[mine]]
            free[mine] = False
            for i in mine:
                np.subtract.at(gain, columns[by_record[i]], parts[by_record[i]])
            gain[best] = -1
            if len(mine):
                found.append((mine, self.symptoms[best]))
        return found

    def parts(self, rows: Rows) -> list[tuple[Rows, str, bool]]:
        """Step 3: the rows in parts, each with what sets it apart and whether others are nearer to what was expected.

        Parts at a distance from each other are told apart by their size: the bulk of a case keeps its id whether or not
        a few records come to lie apart from it.
        """
        found: list[tuple[Rows, str]] = []
        while self.settings is not None:
            apart = self.settings.apart(self._mask(rows), without=self._columns(rows))
            if apart is None:
                break
            inside = apart.rows[self.given[rows]]
            found.append((rows[inside], f"{apart.column} {apart.words}"))
            rows = rows[~inside]
        found.append((rows, ""))
        parts = []
        for within, context in found:
            for piece, company in self._by_company(within):
                near = self._by_distance(piece)
                by_size = sorted((-len(part), far) for far, part in enumerate(near))
                parts += [
                    (near[far], json.dumps([context, company, place]), far > 0)
                    for place, (_, far) in enumerate(by_size)
                ]
        return parts

    def case(self, rows: Rows, case_id: str, symptom: Symptom, *, far: bool) -> Case:
        """The case of these rows."""
        symptoms = self._named(rows, symptom)
        context: list[Common] = []
        if self.settings is not None:
            context = self.settings.common(self._mask(rows), without=[one.column for one in symptoms])
        has = np.ones(len(rows), dtype=bool)
        for one in context:
            has &= one.rows[self.given[rows]]
        share = float(has.mean())
        weights = [self._weight(int(i), symptoms) for i in rows]
        members = sorted(
            (-weight, Member(self.records[i].batch, self.records[i].record_id)) for weight, i in zip(weights, rows)
        )
        batches = sorted({self.records[i].batch for i in rows})
        words = tuple(one.words for one in context)
        return Case(
            id=case_id,
            what=self._what(rows, symptoms, far),
            symptoms=symptoms,
            context=words,
            context_share=share if context else 1.0,
            records=tuple(member for _, member in members),
            weight=math.fsum(weights),
            first=batches[0],
            last=batches[-1],
            batches=len(batches),
        )

    def _mask(self, rows: Rows) -> NDArray[np.bool_]:
        """The rows among the records as they were given."""
        mask = np.zeros(len(self.records), dtype=bool)
        mask[self.given[rows]] = True
        return mask

    def _columns(self, rows: Rows) -> list[str]:
        return sorted({symptom.column for i in rows for symptom in self.reasons[i]})

    def _shared(self, rows: Rows, least: float = SHARED) -> list[Symptom]:
        """The symptoms that so many of the records have, the most frequent first."""
        counts: dict[Symptom, int] = {}
        for i in rows:
            for one in self.reasons[i]:
                counts[one] = counts.get(one, 0) + 1
        return [one for _, one in sorted((-n, one) for one, n in counts.items() if n >= least * len(rows))]

    def _named(self, rows: Rows, symptom: Symptom) -> tuple[Symptom, ...]:
        """The symptoms of a case: first the cause, then what follows from it."""
        first = symptom
        if not any(contrast_of(reason) is not None for i in rows for reason in self.reasons[i].values()):
            mostly = [one for one in self._shared(rows, MOSTLY) if one.column in self.place]
            first = min([symptom, *mostly], key=lambda one: self.place.get(one.column, math.inf))
        return (first, *(one for one in self._shared(rows) if one != first))

    def _weight(self, i: int, symptoms: Sequence[Symptom]) -> float:
        """The nats that the case's columns cost the record: the largest contrast, or the sum of their shares."""
        its = [self.reasons[i][one] for one in symptoms if one in self.reasons[i]]
        contrasts = [contrast for reason in its if (contrast := contrast_of(reason)) is not None]
        return min(MOST, max([*contrasts, 0.0]) if contrasts else math.fsum(_share(reason) for reason in its))

    def _by_company(self, rows: Rows) -> list[tuple[Rows, list[str]]]:
        """The rows in parts that have another strong symptom and that have nothing of the kind, each with these."""
        least = max(FEW, SMALL * len(rows))
        for symptom in self._shared(rows, least / len(rows)):
            has = np.array([symptom in self.reasons[i] for i in rows])
            if np.median([strength_of(self.reasons[i][symptom]) for i in rows[has]]) < ALONE:
                continue
            rest = rows[~has]
            # Where there are as many reasons as are ever given, there may be more.
            trace = sum(symptom.column in self.every[i] or len(self.every[i]) >= self.given_at_most for i in rest)
            if least <= has.sum() <= len(rows) - least and trace <= TRACE * len(rest):
                with_it = [
                    (part, [symptom.column, symptom.kind.value, symptom.text, *more])
                    for part, more in self._by_company(rows[has])
                ]
                return [*with_it, *self._by_company(rest)]
        return [(rows, [])]

    def _by_distance(self, rows: Rows) -> list[Rows]:
        """The rows in parts that are out of range by clearly different amounts, the nearest first."""
        best, far = 0.0, np.zeros(len(rows), dtype=bool)
        for symptom in self._shared(rows):
            if symptom.kind not in (Kind.high, Kind.low):
                continue
            # Where it is not among the leading ones it still says how far out it is.
            its = [self.every[i].get(symptom.column) for i in rows]
            if sum(reason is not None for reason in its) < (1.0 - BETWEEN) * len(rows):
                continue
            distances = np.array([distance(reason) for reason in its])
            gap, at = gap_in(np.sort(distances))
            if gap > best:
                best, far = gap, distances > at
        return [*self._by_distance(rows[~far]), *self._by_distance(rows[far])] if best else [rows]

    def _what(self, rows: Rows, symptoms: Sequence[Symptom], far: bool) -> str:
        first = symptoms[0]
        if first == UNKNOWN:
            return "no reasons"
        words = [symptom.words for symptom in symptoms]
        if far:
            words[0] = f"{first.column} far {words[0].removeprefix(first.column).strip()}"
        if first.kind in (Kind.high, Kind.low):
            words[0] += rule([reason for i in rows if (reason := self.reasons[i].get(first)) is not None])
        if len(words) > 3:
            words = [*words[:2], f"{len(words) - 2} more columns"]
        return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _share(reason: Reason | None) -> float:
    return 0.0 if reason is None or reason.share <= 0 else finite(reason.share)


def _id(symptom: Symptom, apart: str) -> str:
    facts = json.dumps([symptom.column, symptom.kind.value, symptom.text, apart], ensure_ascii=False)
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _grouped(keys: NDArray[np.intp], n: int) -> list[Rows]:
    """Where each of the keys 0 ... n - 1 stands."""
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.searchsorted(keys[order], np.arange(1, n)))
