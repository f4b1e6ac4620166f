"""Reasons: the columns that make a record improbable, with what was observed and what was expected."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowguard.explain import words as say

if TYPE_CHECKING:
    from flowguard.explain.pairs import Pair

CONTRAST = 2.0
"""A column whose best value would make the record less than e^2 times as likely is no reason: a normal value two
deviations off."""

# : (row numbers, column number) -> low and high, in the user's units; see
# `flowguard.explain.answers.Answers.ranges`.
Ranges = Callable[[NDArray[np.intp], int], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Said:
    """How a cell reads: its value, and why it is odd, with the probability of its code given the rest of the record.

    `usual`: the cell holds a plain value, which stands beside this likeliest other one with its probability, such as
    0; then there are no `words`, which need the expected range.
    """

    text: str
    words: str
    usual: tuple[str, float] | None = None


# : (row numbers, column number) -> for each row how it reads, None where it holds a plain value or nothing at all
Named = Callable[[NDArray[np.intp], int], list[Said | None]]


@dataclass(frozen=True)
class Best:
    """The value of a cell that would make its record the likeliest; `value` is None where that is no number."""

    value: float | None
    text: str


# : (row numbers, column number) -> for each row the best value
Bests = Callable[[NDArray[np.intp], int], list[Best]]


@dataclass(frozen=True)
class Reason:
    """One column's part in a record being improbable.

    `share`, `term` and `contrast` are nats; `observed`, `low`, `high` and `best` the user's units (None where there is
    none: missing, redacted, unknown, unbounded or no number); `rank` counts from 1, the largest contrast first, or the
    largest share where there are no contrasts. `contrast` is the log of how much likelier the record becomes if this
    column alone takes its best value, of a pair both; `share` and `term` are NaN for a family without exact ones.
    `partner` is the other column of a pair: then ranges and best values are those without both.
    """

    record_id: str
    rank: int
    column: str
    share: float
    term: float
    observed: float | None
    observed_text: str
    low: float | None
    high: float | None
    words: str
    contrast: float | None = None
    best: float | None = None
    best_text: str = ""
    partner: str | None = None


def reasons_for(
    record_ids: Sequence[str],
    columns: Sequence[str],
    *,
    values: NDArray[np.float64],
    shares: NDArray[np.float64] | None = None,
    terms: NDArray[np.float64] | None = None,
    contrasts: NDArray[np.float64] | None = None,
    expected: Ranges | None = None,
    named: Named | None = None,
    best: Bests | None = None,
    pairs: Mapping[int, Pair] | None = None,
    settings: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    redact: Collection[str] = (),
    top: int = 3,
) -> list[list[Reason]]:
    """The `top` reasons of each record, largest contrast (or share) first: only such as count, but always one.

    `contrasts`, `shares`, `terms` and `values` are ``(n, d)``; `values` are in the user's units, NaN where missing and
    of a level. `named` says how cells read that hold no plain value (levels, atoms, what is missing). `expected` and
    `best` are called once per column with the rows that need it. `pairs`, by row, come first and are told once;
    `settings` say of each record under which context its first reason was odd.
    Values of `redact` columns never leave this function.

    >>> [[reason]] = reasons_for(["a1"], ["air_time"], contrasts=np.array([[9.0]]), values=np.array([[65.0]]),
    ...     expected=lambda rows, column: (np.array([107.2]), np.array([121.4])), units={"air_time": "min"},
    ...     settings=["LGA, ATL"])
    >>> reason.words, reason.low
    ('air_time 65 min; 107 to 121 expected for LGA, ATL', 107.2)
    """
    ranked = contrasts if contrasts is not None else shares
    if ranked is None:
        raise ValueError("reasons need contrasts or shares")
    shape = (len(record_ids), len(columns))
    tables = {"values": values, "shares": shares, "terms": terms, "contrasts": contrasts}
    for name, array in tables.items():
        if array is not None and np.shape(array) != shape:
            raise ValueError(f"{name} has shape {np.shape(array)}; {shape} expected (records, columns)")
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    if not record_ids:
        return []
    hidden = np.array([name in redact for name in columns])
    # Of a pair with a column that must not be shown neither can be told.
    two = {row: pair for row, pair in (pairs or {}).items() if not hidden[list(pair.columns)].any()}
    chosen = _largest(np.asarray(ranked, float), top, CONTRAST if contrasts is not None else 0.0, two)
    # What a pair says of its columns is known already.
    asked = [[c for c in its if row not in two or c not in two[row].columns] for row, its in enumerate(chosen)]
    said_of = _by_cell(asked, hidden, named)
    best_of = _by_cell(asked, hidden, best)
    low, high = _ranges(asked, np.asarray(values, float), hidden, expected, said_of)
    out: list[list[Reason]] = []
    for row, record_id in enumerate(record_ids):
        found = []
        for rank, column in enumerate(chosen[row], start=1):
            name, value = columns[column], float(values[row, column])
            setting = settings[row] if settings is not None and rank == 1 else ""
            unit, pair = (units or {}).get(name), two.get(row)
            cell, good = said_of.get((row, column)), best_of.get((row, column))
            bottom, ceiling, partner = low[row, column], high[row, column], None
            contrast = None if contrasts is None else float(contrasts[row, column])
            if hidden[column]:
                text, said = say.REDACTED, say.redacted_reason(name)
            elif pair is not None and column in pair.columns:
                place = pair.columns.index(column)
                other = pair.columns[1 - place]
                text, partner, contrast = say.quantity(value, unit), columns[other], pair.contrast
                bottom, ceiling = pair.low[place], pair.high[place]
                good = Best(pair.best[place], say.quantity(pair.best[place], unit))
                both = [
                    say.Part(
                        columns[c], float(values[row, c]), pair.low[p], pair.high[p], (units or {}).get(columns[c])
                    )
                    for p, c in ((place, column), (1 - place, other))
                ]
                said = say.pair_reason(both[0], both[1], setting) if rank == 1 else say.second_reason(both[0], partner)
            elif cell is not None and cell.words:
                text, said = cell.text, cell.words
            elif math.isnan(value):
                text, said = say.MISSING, say.missing_reason(name)
            else:
                text = say.quantity(value, unit)
                said = _said(name, value, bottom, ceiling, unit, None if cell is None else cell.usual, setting)
            found.append(
                Reason(
                    record_id=record_id,
                    rank=rank,
                    column=name,
                    share=math.nan if shares is None else float(shares[row, column]),
                    term=math.nan if terms is None else float(terms[row, column]),
                    observed=None if hidden[column] or math.isnan(value) else value,
                    observed_text=text,
                    low=_finite(bottom),
                    high=_finite(ceiling),
                    words=said,
                    contrast=contrast,
                    best=None if good is None or good.value is None else _finite(good.value),
                    best_text="" if good is None else good.text,
                    partner=partner,
                )
            )
        out.append(found)
    return out


def _largest(ranked: NDArray[np.float64], top: int, least: float, pairs: Mapping[int, Pair]) -> list[list[int]]:
    # What is not a number ranks as the largest: whatever it is, the analyst has to see it.
    ranked = np.where(np.isnan(ranked), np.inf, ranked)
    out = []
    for row, order in enumerate(np.argsort(-ranked, axis=1, kind="stable")):
        # As the columns are declared, which is causes before effects.
        first = sorted(pairs[row].columns) if row in pairs else []
        rest = [int(c) for c in order if c not in first]
        kept = [c for place, c in enumerate(first + rest) if place < len(first) or place == 0 or ranked[row, c] > least]
        out.append(kept[:top])
    return out


def _by_cell(
    chosen: Sequence[Sequence[int]],
    hidden: NDArray[np.bool_],
    ask: Callable[[NDArray[np.intp], int], Sequence[Any]] | None,
) -> dict[tuple[int, int], Any]:
    """What `ask` says of the chosen cells, less where it is None."""
    found: dict[tuple[int, int], Any] = {}
    if ask is None:
        return found
    rows_of: dict[int, list[int]] = {}
    for place, columns in enumerate(chosen):
        for column in columns:
            if not hidden[column]:
                rows_of.setdefault(column, []).append(place)
    for column, rows in rows_of.items():
        for row, said in zip(rows, ask(np.array(rows, dtype=np.intp), column), strict=True):
            if said is not None:
                found[row, column] = said
    return found


def _ranges(
    chosen: Sequence[Sequence[int]],
    values: NDArray[np.float64],
    hidden: NDArray[np.bool_],
    expected: Ranges | None,
    said_of: Mapping[tuple[int, int], Said],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.full(values.shape, np.nan), np.full(values.shape, np.nan)
    if expected is None:
        return low, high
    wanted = np.zeros(values.shape, dtype=bool)
    for row, columns in enumerate(chosen):
        wanted[row, list(columns)] = True
    wanted &= ~np.isnan(values) & ~hidden
    for place, cell in said_of.items():
        wanted[place] &= not cell.words
    for column in np.flatnonzero(wanted.any(axis=0)):
        rows = np.flatnonzero(wanted[:, column])
        low[rows, column], high[rows, column] = expected(rows, int(column))
    return low, high


def _said(
    name: str, value: float, low: float, high: float, unit: str | None, usual: tuple[str, float] | None, setting: str
) -> str:
    inside = not (value < low or value > high)
    said = say.value_reason(name, value, low, high, unit=unit, setting=setting)
    if usual is None or usual[1] <= 0.5:
        return said
    # The value fits but that there is one beside the usual one does not, or neither does.
    told = say.quantity(value, unit) if inside else said.removeprefix(f"{name} ")
    return say.beside_reason(name, told, usual)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
