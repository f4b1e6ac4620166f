"""Settings: under which context a group of records stands, beyond what the other records of their batches have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowguard.explain.words import expected, visible

#: A context is named where this share of the records have it ...
COMMON = 0.8
#: ... and numbers by a range that holds this share ...
HELD = 0.9
#: ... if it is at least so many times as frequent as among the other records ...
LIFT = 1.5
#: ... and the evidence, n KL(here || elsewhere) in nats, is at least this, and the log of how many were tried.
EVIDENCE = 8.0
#: So many of them at most; what follows from those before is not named.
NAMED = 3
#: Part of a group stands apart where so many records share a level ...
APART = 10
#: ... that is so many times as frequent as among others ...
APART_LIFT = 3.0
#: ... with at least this evidence.
APART_EVIDENCE = 30.0
#: No context is sought for fewer records.
FEWEST = 3

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Column:
    """A column that may hold what records have in common: text, or numbers (NaN where missing).

    `here` are the values of the flagged records, `elsewhere` those of others, scored in the same batches and not
    flagged. `period` is that of numbers on a circle, such as hours.
    """

    name: str
    here: NDArray[Any]
    elsewhere: NDArray[Any]
    period: float | None = None

    @property
    def is_text(self) -> bool:
        """Whether the values are text."""
        return self.here.dtype.kind not in "fiu"


@dataclass(frozen=True)
class Common:
    """One context that records have in common; `rows` are the flagged records that have it."""

    column: str
    words: str
    share: float
    elsewhere: float
    evidence: float
    rows: Rows = field(repr=False)
    others: Rows = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """The context of flagged records, and of others to compare with.

    `batch` ``(n,)`` and `other_batch` ``(m,)`` name the batches: records are compared with those of their own batches,
    batch by batch, so that what a whole day has in common (its date, its weather) is not taken for a cause.
    """

    batch: NDArray[np.str_]
    other_batch: NDArray[np.str_]
    columns: Sequence[Column] = ()

    def common(self, rows: Rows, *, without: Sequence[str] = ()) -> list[Common]:
        """What the records `rows` (n,) have in common, the strongest first, each given those before it.

        >>> settings = Settings(np.array(["a"] * 9), np.array(["a"] * 90),
        ...     [Column("origin", np.array(["LGA"] * 9), np.array(["LGA", "JFK", "EWR"] * 30))])
        >>> [(one.words, one.share, round(one.elsewhere, 2)) for one in settings.common(np.ones(9, bool))]
        [('LGA', 1.0, 0.34)]
        """
        found: list[Common] = []
        others = self._weights(rows)
        while others is not None and len(found) < NAMED and rows.sum() >= FEWEST:
            taken = {*without, *(one.column for one in found)}
            tried = [column for column in self.columns if column.name not in taken]
            least = EVIDENCE + math.log(max(len(tried), 1))
            best = max(
                (one for column in tried for one in _frequent(column, rows, others, least)),
                key=lambda one: (one.evidence, one.column),
                default=None,
            )
            if best is None:
                break
            found.append(best)
            rows = rows & best.rows
            left = np.where(best.others, others, 0.0)
            # Too few others like these to say what is special beyond it.
            others = left / left.sum() if np.count_nonzero(left) >= FEWEST else None
        return found

    def apart(self, rows: Rows, *, without: Sequence[str] = ()) -> Common | None:
        """A level that a part of the records `rows` has far more often than others: they may have their own cause.

        The strongest that `APART` records or more have, `APART_LIFT` times as often; None where there is none.
        """
        others = self._weights(rows)
        if others is None or rows.sum() < APART:
            return None
        found = [
            one
            for column in self.columns
            if column.is_text and column.name not in without
            for value in _levels(column.here[rows])
            for one in _compared(column, value, rows, others)
            if one.share < COMMON
        ]
        return max(found, key=lambda one: (one.evidence, one.column, one.words), default=None)

    def _weights(self, rows: Rows) -> NDArray[np.float64] | None:
        """What each other record counts: batches as the records `rows` are spread over them; None without others."""
        names, counts = np.unique(self.batch[rows], return_counts=True)
        n = dict(zip(names.tolist(), counts.tolist()))
        known, place, sizes = np.unique(self.other_batch, return_inverse=True, return_counts=True)
        if not len(known):
            return None
        by_batch = np.array([n.get(str(name), 0) / size for name, size in zip(known, sizes)])
        weights = by_batch[place]
        total = float(weights.sum())
        return weights / total if total > 0 else None


def _frequent(column: Column, rows: Rows, others: NDArray[np.float64], evident: float) -> list[Common]:
    """What most of the records have in this column and few others have: one at most."""
    mine = column.here[rows]
    if column.is_text:
        levels, counts = np.unique(mine, return_counts=True)
        value = str(levels[np.argmax(counts)])
        here, elsewhere = column.here == value, column.elsewhere == value
        words, least = _level_words(column.name, value), COMMON
    else:
        window = _window(mine, column.period)
        if window is None:
            return []
        here, elsewhere = (_within(values, window, column.period) for values in (column.here, column.elsewhere))
        words, least = _window_words(column.name, window, column.period), HELD - 1e-9
    share = float((here & rows).sum() / rows.sum())
    usual = _usual(others, elsewhere)
    evidence = float(rows.sum()) * _divergence(share, usual)
    # A range is chosen among many, a level among those that occur.
    tried = math.log(len(levels)) if column.is_text else math.log(len(mine))
    if share < least or share < LIFT * usual or evidence < evident + tried:
        return []
    return [Common(column.name, words, share, usual, evidence, here, elsewhere)]


def _levels(values: NDArray[Any]) -> list[str]:
    """The levels that enough records have to stand apart."""
    levels, counts = np.unique(values, return_counts=True)
    return [str(level) for level, count in zip(levels, counts) if count >= APART]


def _compared(column: Column, value: str, rows: Rows, others: NDArray[np.float64]) -> list[Common]:
    here, elsewhere = column.here == value, column.elsewhere == value
    share, usual = float((here & rows).sum() / rows.sum()), _usual(others, elsewhere)
    evidence = float(rows.sum()) * _divergence(share, usual)
    if share < APART_LIFT * usual or evidence < APART_EVIDENCE:
        return []
    return [Common(column.name, _level_words(column.name, value), share, usual, evidence, here, elsewhere)]


def _usual(others: NDArray[np.float64], elsewhere: Rows) -> float:
    """The share of other records, as if one more were there, half of which has it: none never means impossible."""
    support = 1.0 / float((others**2).sum())
    return (float(others[elsewhere].sum()) * support + 0.5) / (support + 1.0)


def _divergence(p: float, q: float) -> float:
    """KL(p || q) of two coins in nats."""
    parts = [(p, q), (1.0 - p, 1.0 - q)]
    return sum(a * math.log(a / b) for a, b in parts if a > 0)


def _window(values: NDArray[np.float64], period: float | None) -> tuple[float, float] | None:
    """The shortest range, on a circle for a period, that holds `HELD` of the values; None where too few have any."""
    seen = np.sort(values[np.isfinite(values)] if period is None else np.mod(values[np.isfinite(values)], period))
    needed = math.ceil(HELD * len(values) - 1e-9)
    if len(seen) < needed or needed < 1:
        return None
    ends = seen if period is None else np.concatenate([seen, seen + period])
    starts = len(seen) if period is not None else len(seen) - needed + 1
    widths = ends[needed - 1 : needed - 1 + starts] - ends[:starts]
    first = int(np.argmin(widths))
    return float(ends[first]), float(ends[first + needed - 1])


def _within(values: NDArray[np.float64], window: tuple[float, float], period: float | None) -> Rows:
    low, high = window
    if period is None:
        return (values >= low) & (values <= high)
    return np.mod(np.mod(values, period) - low, period) <= high - low


def _level_words(column: str, value: str) -> str:
    """A level; with its column where it says little by itself.

    >>> _level_words("origin", "LGA"), _level_words("is_new", "true"), _level_words("class", "3")
    ('LGA', 'is_new true', 'class 3')
    """
    alone = any(char.isalpha() for char in value) and len(value) > 1 and value not in ("true", "false", "missing")
    shown = visible(value if len(value) <= 40 else value[:39] + "…")
    return shown if alone else f"{column} {shown}"


def _window_words(column: str, window: tuple[float, float], period: float | None) -> str:
    low, high = window
    if period is None or high < period:
        return f"{column} {expected(low, high).removeprefix('about ')}"
    texts = [expected(bound, bound).removeprefix("about ") for bound in (low, high - period)]
    return f"{column} {texts[0]} to {texts[1]}"
