"""Two columns that belong together and are both far out: neither alone explains the record, together they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flowguard.explain.profile import Profile

if TYPE_CHECKING:
    from flowguard.density import Inputs
    from flowguard.explain.expected import Expected
    from flowguard.explain.replaced import Conditionals

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

LOOKED_AT = 6
"""Columns whose pairs are considered: those that the outline finds farthest out, in any company."""
TRIED = 3
"""Pairs that the density judges, for each record."""
LEAST = 3.0
"""Nats that a pair must bring beyond what two columns do one after the other."""
_GRID = np.array([-6.0, -4.0, -3.0, -2.3, -1.7, -1.2, -0.7, -0.2, 0.2, 0.7, 1.2, 1.7, 2.3, 3.0, 4.0, 6.0])


@dataclass(frozen=True)
class Pair:
    """Columns `first` and `second`, what the record gains by the best values of both, and these, in the user's units.

    `low` and `high` are the expected ranges of either given the rest of the record without both.
    """

    columns: tuple[int, int]
    contrast: float
    best: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]


def pairs_of(exact: Conditionals, rows: Rows, expected: Expected, single: Array) -> dict[int, Pair]:
    """The pair of each record at `rows` that brings it back to the ordinary, where there is one.

    `single` (n,) is what a record gains by the best value of one column, and then by that of another. Pairs are
    proposed by the outline's Gaussian and judged by the density: its maximum over both columns, one after the other and
    from there again.
    """
    found: dict[int, Pair] = {}
    candidates = {int(row): _candidates(exact, int(row)) for row in rows}
    for turn in range(TRIED):
        wanted = [(row, its[turn]) for row, its in candidates.items() if row not in found and turn < len(its)]
        if not wanted:
            break
        peaks, places = _peaks(exact, wanted)
        for (row, pair), peak, at in zip(wanted, peaks.tolist(), places, strict=True):
            gain = peak - float(exact.log_observed[row])
            if peak >= -expected.ordinary and gain > single[row] + LEAST:
                found[row] = _told(exact, row, pair, gain, at, expected)
    return found


def _told(exact: Conditionals, row: int, pair: tuple[int, int], gain: float, places: Array, expected: Expected) -> Pair:
    columns = int(exact.valued[pair[0]]), int(exact.valued[pair[1]])
    decoded = []
    for which, column in enumerate(columns):
        ends = _range(exact, row, pair, places, which, expected.levels[column])
        axis = np.array([places[which], *ends])
        decoded.append(exact.encoder.decode(exact.encoder.feature_names[column], axis).tolist())
    best, low, high = zip(*decoded, strict=True)
    return Pair(columns, gain, best, low, high)


def _candidates(exact: Conditionals, row: int) -> list[tuple[int, int]]:
    """Pairs of places among the valued columns, those first that the outline gains most by beyond either alone."""
    there = np.isfinite(exact.values[row])
    count = len(exact.valued)
    pull, precision = exact.off[row, :count], exact.outline.precision[:count, :count]
    alone = 0.5 * pull**2 / np.diag(precision)
    far = np.abs(exact.values[row] - exact.outline.center[:count])
    score = np.where(there, np.maximum(np.nan_to_num(far), np.sqrt(2 * alone)), -np.inf)
    some = [int(i) for i in np.argsort(-score, kind="stable")[:LOOKED_AT] if there[i]]
    gains = []
    for place, a in enumerate(some):
        for b in some[place + 1 :]:
            one, two = sorted((a, b))
            block = np.linalg.inv(precision[np.ix_([one, two], [one, two])])
            joint = 0.5 * float(pull[[one, two]] @ block @ pull[[one, two]])
            gains.append((-(joint - max(alone[one], alone[two])), one, two))
    return [(one, two) for _, one, two in sorted(gains)]


def _peaks(exact: Conditionals, wanted: list[tuple[int, tuple[int, int]]]) -> tuple[Array, Array]:
    """The greatest log-likelihood over both columns of each pair, (w,), and where it is, (w, 2), on the axis."""
    places = np.zeros((len(wanted), 2))
    for place, (row, (a, b)) in enumerate(wanted):
        first, second = exact.outline.given_without(exact.values[[row]], exact.off[[row]], a, b)
        places[place] = first[0], second[0]
    best = np.full(len(wanted), -np.inf)
    for turn in range(3):
        held, free = (0, 1) if turn % 2 == 0 else (1, 0)
        moved = exact.among(_moved(exact, wanted, held, places[:, held]), whole=True)
        asked = [(int(exact.valued[pair[free]]), np.array([place])) for place, (_, pair) in enumerate(wanted)]
        for place, found in enumerate(moved.of(asked, rounds=min(turn, 1))):
            assert found.profile is not None
            if turn < 2 or found.profile.peak[0] >= best[place]:
                best[place], places[place, free] = found.profile.peak[0], found.profile.mode[0]
    return _at(exact, wanted, places), places


def _moved(exact: Conditionals, wanted: list[tuple[int, tuple[int, int]]], which: int, axis: Array) -> Inputs:
    """The records with one column of their pair at `axis`, one after the other."""
    parts = []
    for place, (row, pair) in enumerate(wanted):
        column = int(exact.valued[pair[which]])
        parts.append(exact.with_values(np.array([row]), column, axis[place : place + 1, None])[0])
    return type(exact.inputs).join(parts)


def _at(exact: Conditionals, wanted: list[tuple[int, tuple[int, int]]], places: Array) -> Array:
    """log p of the records with both columns at `places`."""
    again = [(place, pair) for place, (_, pair) in enumerate(wanted)]
    moved = exact.among(_moved(exact, wanted, 0, places[:, 0]))
    return moved.among(_moved(moved, again, 1, places[:, 1])).log_observed


def _range(exact: Conditionals, row: int, pair: tuple[int, int], places: Array, which: int, levels: Array) -> Array:
    """The quantiles `levels` (2,) of one column of a pair given the rest without both, on the axis.

    The joint density on a grid that leans as the outline does, integrated over the other column.
    """
    one, other = pair[which], pair[1 - which]
    block = np.linalg.inv(exact.outline.precision[np.ix_([one, other], [one, other])])
    along = places[which] + np.sqrt(block[0, 0]) * _GRID
    moved = exact.with_values(np.array([row]), int(exact.valued[one]), along[None])
    lean = places[1 - which] + block[1, 0] / block[0, 0] * (along - places[which])
    across = lean[:, None] + exact.outline.deviations[other] * _GRID
    inner = exact.among(moved[0])
    inputs, points, wide = inner.with_values(np.arange(len(along)), int(exact.valued[other]), across)
    logs = inner.evaluate([inputs])[0].reshape(points.shape) - wide
    points = np.where(np.isnan(points), across, points)
    marginal = Profile.of(points, logs).log_mass - moved[2][0]
    told = Profile.of(np.where(np.isnan(moved[1]), along, moved[1]), marginal[None])
    return told.quantile(levels[None])[0]
