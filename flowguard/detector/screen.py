"""A screen before the fit: the records that a stiff robust model finds strangest do not become training records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from flowguard.density import Column, Inputs
from flowguard.encoding import Encoded

Array = NDArray[np.float64]

SAMPLE = 20_000
"""Records that the screen is made from, at most, taken evenly from the stream."""
STEPS = 10
RIDGE = 0.01
# What lies further out is as far: squares stay finite.
_FARTHEST = 1e9
_HUGE = 1e150
_NORMAL_MAD = 1.4826
# A record's distance is a sum in another order when it comes in another batch: records that tie share their fate.
_TIE = 1e-9


@dataclass(frozen=True, eq=False)
class Screen:
    """How strange a record is to one Gaussian for its values and frequencies for its codes, and where the limit lies.

    Strangeness is the squared Mahalanobis distance of the values on the straight scale, plus 2 * -log of the frequency
    of each code. `center`, `scale` (w,) and `precision` (w, w) are of the w = m + j numbers and integers, which are at
    `places` among the features; `surprise` holds 2 * -log of the frequency of every code of each feature.

    A flow bends to whatever it is trained on, planted clusters too, and finds others strange; a model this stiff bends
    less. It leaves out twice the share that is told: among the strangest c there are about as many ordinary records as
    planted ones, and to lose an ordinary record costs little.
    """

    center: Array
    scale: Array
    precision: Array
    surprise: tuple[Array, ...]
    places: tuple[int, ...]
    limit: float

    @classmethod
    def fit(
        cls, chunks: Iterable[Encoded | Inputs], share: float, *, columns: Sequence[Column], rows: int | None = None
    ) -> Screen:
        """The screen that leaves out 2 * `share` of a stream, at most half, `rows` long where it exceeds `SAMPLE`.

        Location and scatter of the nearest records, found again from these until nothing changes (Rousseeuw and
        Van Driessen 1999, the concentration steps of FAST-MCD, from one start: medians), the scatter made as large as
        that of a normal sample cut off so (Croux and Haesbroeck 1999). Records that tie with the limit stay.

        Errors: ValueError for a share outside of (0, 0.5), or without a record.

        Example:
            >>> import torch
            >>> values = np.random.default_rng(0).normal(size=(100, 2))
            >>> values[95:] += 9
            >>> x = torch.from_numpy(values)
            >>> records = replace(Inputs.plain(x), line=x)
            >>> screen = Screen.fit([records], 0.05, columns=[Column("number", (100, 0))] * 2)
            >>> screen.keep(records)[95:].tolist(), int(screen.keep(records).sum())
            ([False, False, False, False, False], 90)
        """
        if not 0 < share < 0.5:
            raise ValueError(f"the share of contamination is above 0 and below 0.5, not {share}")
        line, codes = _sample(chunks, every=math.ceil((rows or 1) / SAMPLE))
        if not len(codes):
            raise ValueError("there is no record to make a screen from")
        numbers = [place for place, column in enumerate(columns) if column.kind == "number"]
        integers = [place for place, column in enumerate(columns) if column.kind == "integer"]
        places = (*numbers, *integers)
        there = codes[:, places] == 0
        count = len(codes) - math.floor(min(2 * share, 0.5) * len(codes) + 1e-9)
        center, scale, precision = _concentrated(line, there, count)
        surprise = tuple(-2 * np.log(np.maximum(column.shares(), 1e-300)) for column in columns)
        loose = cls(center, scale, precision, surprise, places, math.inf)
        limit = float(np.sort(loose._strangeness(line, codes))[count - 1])
        return replace(loose, limit=limit + _TIE * (1 + abs(limit)))

    def strangeness(self, records: Encoded | Inputs) -> Array:
        """Squared distance and surprise together, `(n,)`, finite."""
        return self._strangeness(*_parts(records))

    def keep(self, records: Encoded | Inputs) -> NDArray[np.bool_]:
        """Which records are no stranger than the limit, `(n,)`; a record's fate does not depend on the others."""
        return self.strangeness(records) <= self.limit

    def _strangeness(self, line: Array, codes: NDArray[np.int64]) -> Array:
        apart = _deviations(line, codes[:, self.places] == 0, self.center, self.scale)
        told = sum((table[codes[:, place]] for place, table in enumerate(self.surprise)), np.zeros(len(codes)))
        return _squared(apart, self.precision) + told


def _concentrated(line: Array, there: NDArray[np.bool_], count: int) -> tuple[Array, Array, Array]:
    """Center, scale and precision of the `count` records that lie nearest to them."""
    center, scale = _start(line, there)
    # From here on in these units, whatever those of the line are.
    values = _deviations(line, there, center, scale)
    squared = (values**2).sum(axis=1)
    nearest = np.zeros(0, dtype=np.intp)
    for _ in range(STEPS):
        # Stable: of records that tie the first ones, the same on every machine.
        before, nearest = nearest, np.sort(squared.argsort(kind="stable")[:count])
        if np.array_equal(before, nearest):
            break
        shift, spread, precision = _moments(values[nearest], there[nearest])
        squared = _squared(_deviations(values, there, shift, spread), precision)
    # The nearest are less scattered than all. Their mean distance is the number of dimensions that they fill.
    kept, filled = count / len(line), float(squared[nearest].mean())
    if kept < 1 and filled > 1e-6:
        precision = precision * chi2.cdf(chi2.ppf(kept, filled), filled + 2) / kept
    with np.errstate(over="ignore", under="ignore"):
        return center + scale * shift, np.clip(scale * spread, 1e-300, _HUGE), precision


def _start(line: Array, there: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Median and scaled median deviation of each column's values; where most are alike, the mean deviation."""
    width = line.shape[1]
    center, scale = np.zeros(width), np.ones(width)
    for i in range(width):
        values = line[there[:, i], i]
        if not len(values):
            continue
        center[i] = np.median(values)
        apart = np.abs(values - center[i])
        scale[i] = _NORMAL_MAD * np.median(apart) or math.sqrt(math.pi / 2) * apart.mean() or 1.0
    return center, np.maximum(scale, 1e-300)


def _moments(values: Array, there: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """Mean, standard deviation and inverse correlation, of the values that are there.

    One that is not there counts as a deviation of 0 and in the diagonal as 1: correlations are then too small, never
    too large, and the matrix stays one of correlations. The ridge bounds what columns that copy each other, or more
    of them than records, can say.
    """
    number, width = there.sum(axis=0).clip(min=1), values.shape[1]
    mean = values.sum(axis=0) / number
    apart = np.where(there, values - mean, 0.0)
    spread = np.sqrt((apart**2).sum(axis=0) / number)
    # A constant says nothing of those like it, and much of those that are not.
    spread = np.where(spread > 1e-6, spread, 1.0)
    apart /= spread
    correlation = apart.T @ apart / len(values)
    ridge = max(RIDGE, width / (len(values) + width))
    correlation *= 1 - ridge
    np.fill_diagonal(correlation, 1.0)
    return mean, spread, np.asarray(np.linalg.inv(correlation), dtype=np.float64)


def _deviations(line: Array, there: NDArray[np.bool_], center: Array, scale: Array) -> Array:
    with np.errstate(over="ignore"):
        apart = np.clip((line - center) / scale, -_FARTHEST, _FARTHEST)
    return np.where(there, apart, 0.0)


def _squared(apart: Array, precision: Array) -> Array:
    return np.maximum(((apart @ precision) * apart).sum(axis=1), 0.0)


def _parts(records: Encoded | Inputs) -> tuple[Array, NDArray[np.int64]]:
    line = np.nan_to_num(np.asarray(records.line, dtype=np.float64), posinf=_HUGE, neginf=-_HUGE)
    return line.clip(-_HUGE, _HUGE), np.asarray(records.codes)


def _sample(chunks: Iterable[Encoded | Inputs], *, every: int) -> tuple[Array, NDArray[np.int64]]:
    """Line and codes of every `every`-th record of the stream, however it is cut."""
    lines, codes, before = [], [], 0
    for records in chunks:
        line, code = _parts(records)
        part = slice(-before % every, None, every)
        lines.append(line[part])
        codes.append(code[part])
        before += len(code)
    if not lines:
        return np.zeros((0, 0)), np.zeros((0, 0), dtype=np.int64)
    return np.concatenate(lines), np.concatenate(codes)
