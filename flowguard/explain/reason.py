"""Reasons: the columns that make a record improbable, with what was observed and what was expected."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowguard.explain import words as say

# : (row numbers, column number) -> low and high, in the user's units; see
# `flowguard.explain.ranges.ranges_of`.
Ranges = Callable[[NDArray[np.intp], int], tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Said:
    """How a cell reads: its value, and why it is odd, with the probability of its code given the columns before.

    `usual`: the cell holds a plain value, which stands beside this likeliest other one with its probability, such as
    0; then there are no `words`, which need the expected range.
    """

    text: str
    words: str
    usual: tuple[str, float] | None = None


# : (row numbers, column number) -> for each row how it reads, None where it holds a plain value or nothing at all
Named = Callable[[NDArray[np.intp], int], list[Said | None]]


@dataclass(frozen=True)
class Reason:
    """One column's part in a record being improbable.

    `share` and `term` are nats; `observed`, `low` and `high` the user's units (None where there is none:
    missing, redacted, unknown or unbounded); `rank` counts from 1, the largest share first.
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


def reasons_for(
    record_ids: Sequence[str],
    columns: Sequence[str],
    *,
    shares: NDArray[np.float64],
    terms: NDArray[np.float64],
    values: NDArray[np.float64],
    mass_terms: NDArray[np.float64] | None = None,
    expected: Ranges | None = None,
    named: Named | None = None,
    units: Mapping[str, str] | None = None,
    redact: Collection[str] = (),
    top: int = 3,
) -> list[list[Reason]]:
    """The `top` reasons of each record, largest share first: only positive shares, but always one.

    `shares`, `terms`, `values` and `mass_terms` are ``(n, d)``; `values` are in the user's units, NaN where
    missing. `mass_terms` (log probability that the column is as observed or missing as it is) lets a missing
    value say how often it is observed. `named` says how cells read that hold no plain value (levels, atoms); of a
    level `values` hold NaN. `expected` is called once per column with the rows that need it.
    Values of `redact` columns never leave this function.

    >>> [[reason]] = reasons_for(["a1"], ["air_time"], shares=np.array([[9.0]]), terms=np.array([[12.0]]),
    ...     values=np.array([[65.0]]), expected=lambda rows, column: (np.array([107.2]), np.array([121.4])),
    ...     units={"air_time": "min"})
    >>> reason.words, reason.low
    ('air_time 65 min; 107 to 121 expected', 107.2)
    """
    shares, terms, values = (np.asarray(a, dtype=np.float64) for a in (shares, terms, values))
    shape = (len(record_ids), len(columns))
    for name, array in (("shares", shares), ("terms", terms), ("values", values), ("mass_terms", mass_terms)):
        if array is not None and array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}; {shape} expected (records, columns)")
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    if not record_ids:
        return []
    chosen = _largest(shares, top)
    hidden = np.array([name in redact for name in columns])
    said_of = _named(chosen, hidden, named)
    low, high = _ranges(chosen, values, hidden, expected, said_of)
    out: list[list[Reason]] = []
    for row, record_id in enumerate(record_ids):
        found = []
        for rank, column in enumerate(chosen[row], start=1):
            name = columns[column]
            unit = (units or {}).get(name)
            mass = None if mass_terms is None else float(mass_terms[row, column])
            value, bottom, ceiling = float(values[row, column]), low[row, column], high[row, column]
            cell = said_of.get((row, column))
            if hidden[column]:
                text, said = say.REDACTED, say.redacted_reason(name)
            elif cell is not None and cell.words:
                text, said = cell.text, cell.words
            elif math.isnan(value):
                text = say.MISSING
                said = say.missing_reason(name, None if mass is None else math.exp(mass))
            else:
                text = say.quantity(value, unit)
                usual = None if cell is None else cell.usual
                said = _said(name, value, bottom, ceiling, unit, mass, float(terms[row, column]), usual)
            found.append(
                Reason(
                    record_id=record_id,
                    rank=rank,
                    column=name,
                    share=float(shares[row, column]),
                    term=float(terms[row, column]),
                    observed=None if hidden[column] or math.isnan(value) else value,
                    observed_text=text,
                    low=_finite(bottom),
                    high=_finite(ceiling),
                    words=said,
                )
            )
        out.append(found)
    return out


def _largest(shares: NDArray[np.float64], top: int) -> list[list[int]]:
    # A share that is not a number ranks as the largest: whatever it is, the analyst has to see it.
    ranked = np.where(np.isnan(shares), np.inf, shares)
    order = np.argsort(-ranked, axis=1, kind="stable")[:, :top]
    return [
        [int(c) for place, c in enumerate(cols) if place == 0 or ranked[row, c] > 0] for row, cols in enumerate(order)
    ]


def _named(
    chosen: Sequence[Sequence[int]], hidden: NDArray[np.bool_], named: Named | None
) -> dict[tuple[int, int], Said]:
    """How the chosen cells read that hold no plain value."""
    found: dict[tuple[int, int], Said] = {}
    if named is None:
        return found
    rows_of: dict[int, list[int]] = {}
    for place, columns in enumerate(chosen):
        for column in columns:
            if not hidden[column]:
                rows_of.setdefault(column, []).append(place)
    for column, rows in rows_of.items():
        for row, said in zip(rows, named(np.array(rows, dtype=np.intp), column), strict=True):
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
    name: str,
    value: float,
    low: float,
    high: float,
    unit: str | None,
    mass: float | None,
    term: float,
    usual: tuple[str, float] | None,
) -> str:
    inside = not (value < low or value > high)
    said = say.value_reason(name, value, low, high, unit=unit)
    if usual is not None:
        if usual[1] <= 0.5:
            return said
        # The value fits but that there is one beside the usual one does not, or neither does.
        told = say.quantity(value, unit) if inside else said.removeprefix(f"{name} ")
        return say.beside_reason(name, told, usual)
    # The value fits but that there is one does not: more than half of the term comes from the column being
    # observed.
    if mass is not None and inside and -mass > max(math.log(2.0), 0.5 * term):
        return say.present_reason(name, value, math.exp(mass), unit=unit)
    return said


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
