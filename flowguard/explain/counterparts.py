"""Counterparts of a record: the ordinary ones that it is nearest to, and the flagged ones that are odd in its way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from flowguard.encoding import Encoded

Array = NDArray[np.float64]

INDEPENDENT = 2.0
"""What two records that have nothing to do with each other differ by in a column, on average: E (z - z')^2."""

MOST = 2 * INDEPENDENT
"""What a column counts at most, so that one absurd value does not decide which record is nearest."""

DIFFERS = 1.0
"""From here on a column is said to differ: by one deviation, or by another level."""

MISSING = 1


@dataclass(frozen=True)
class Located:
    """n encoded records and their noise `latent` (n, orders, m); see `RecordDensity.latent`."""

    encoded: Encoded
    latent: Array

    def __len__(self) -> int:
        return len(self.encoded)


@dataclass(frozen=True)
class Nearest:
    """The places of the nearest records, nearest first, their `distance` (k,) and `gaps` (k, entries)."""

    rows: NDArray[np.intp]
    distance: Array
    gaps: Array


def nearest(one: Located, among: Located, *, widths: Sequence[int], count: int) -> Nearest:
    """The `count` records of `among` that are nearest to the record `one`, of equally near ones the first.

    distance^2 = the mean gap of the features + that of the context: what a record is and what it is given count alike,
    however many columns either has. `widths`: see `gaps`.
    """
    apart = gaps(one, among, widths=widths)
    features = one.encoded.codes.shape[1]
    square = _mean(apart[:, :features]) + _mean(apart[:, features:])
    rows = np.argsort(square, kind="stable")[:count]
    return Nearest(rows, np.sqrt(square[rows]), apart[rows])


def gaps(one: Located, among: Located, *, widths: Sequence[int]) -> Array:
    """How far the record `one` is from each of n others, by column, (n, features + context entries), from 0 to `MOST`.

    Of two numbers the squared difference of their noise, averaged over the column orders: so far apart are they for
    records like these. Where either is at an atom, that of their places on the straight scale; of integers that of
    their steps. A number that one of them lacks counts like an absurd one, another level as much as two independent
    numbers do. Context by entry, the numeric ones, whose widths in `Encoded.context` are `widths`, before the
    categories.
    """
    a, b = one.encoded, among.encoded
    if len(a) != 1:
        raise ValueError(f"counterparts are those of one record, not of {len(a)}")
    if sum(widths) != a.context.shape[1]:
        raise ValueError(f"the context has {a.context.shape[1]} columns, not {sum(widths)}")
    found = np.where(a.codes != b.codes, INDEPENDENT, 0.0)
    there = (a.codes != MISSING) & (b.codes != MISSING)
    line = np.square(a.line - b.line)
    latent = np.square(one.latent - among.latent).mean(axis=1)
    for place, column in enumerate(a.numbers):
        valued = (a.codes[:, column] == 0) & (b.codes[:, column] == 0)
        apart = np.where(valued, latent[:, place], line[:, place])
        found[:, column] = np.where(there[:, column], apart, 2 * found[:, column])
    for place, column in enumerate(a.integers):
        valued = (a.codes[:, column] == 0) & (b.codes[:, column] == 0)
        steps = np.square(a.lower[:, place] - b.lower[:, place])
        apart = np.where(valued, steps, line[:, len(a.numbers) + place])
        found[:, column] = np.where(there[:, column], apart, 2 * found[:, column])
    starts = np.cumsum([0, *widths])
    square = np.square(a.context - b.context)
    context = [square[:, start:stop].sum(axis=1) for start, stop in itertools.pairwise(starts)]
    levels = np.where(a.levels != b.levels, INDEPENDENT, 0.0)
    return np.minimum(np.column_stack([found, *context, levels]), MOST)


class Told(Protocol):
    """What likeness is read from of a reason: `flowguard.explain.Reason` is one."""

    @property
    def column(self) -> str: ...

    @property
    def share(self) -> float: ...

    @property
    def observed(self) -> float | None: ...

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...


def likeness(reasons: Sequence[Told], others: Sequence[Told]) -> float:
    """How alike two records are odd, from -1 to 1: the cosine between the directions in which they are.

    A direction has a coordinate for each column, its deviations: (2 share)^1/2, as a share of z^2/2 is a standard
    normal's, and negative where the value lies in the lower half of the expected range or below it. So two records may
    be odd to different degrees and yet alike. Of reasons that have a contrast that counts, and of a pair half of it for
    each column.

    >>> from types import SimpleNamespace as Reason
    >>> late = Reason(column="delay", share=8.0, observed=300.0, low=-9.0, high=40.0)
    >>> later = Reason(column="delay", share=32.0, observed=900.0, low=-9.0, high=40.0)
    >>> early = Reason(column="delay", share=8.0, observed=-60.0, low=-9.0, high=40.0)
    >>> likeness([late], [later]), likeness([late], [early]), likeness([late], [])
    (1.0, -1.0, 0.0)
    """
    mine, its = _direction(reasons), _direction(others)
    length = math.hypot(*mine.values()) * math.hypot(*its.values())
    if not length:
        return 0.0
    product = math.fsum(value * its[name] for name, value in mine.items() if name in its)
    return max(-1.0, min(1.0, product / length))


def _direction(reasons: Sequence[Told]) -> dict[str, float]:
    found: dict[str, float] = {}
    for reason in reasons:
        ends = [end for end in (reason.low, reason.high) if end is not None]
        below = reason.observed is not None and bool(ends) and reason.observed < sum(ends) / len(ends)
        contrast, partner = getattr(reason, "contrast", None), getattr(reason, "partner", None)
        nats = reason.share if contrast is None else contrast
        names = [reason.column] if partner is None else [reason.column, partner]
        size = math.sqrt(2 * nats / len(names)) if 0 < nats < math.inf else 0.0
        for name in names:
            found.setdefault(name, -size if below else size)
    return found


def _mean(apart: Array) -> Array:
    return apart.mean(axis=1) if apart.shape[1] else np.zeros(len(apart))
