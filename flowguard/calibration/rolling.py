"""Rolling calibration: the reference of a version together with what it scored lately, each counting by its age."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.calibration import Calibration

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recent:
    """Scores (m,) of records that the version scored before, the cell and the day number of each."""

    scores: Array
    cell: NDArray[np.str_]
    day: NDArray[np.int64]


def rolled(calibration: Calibration, day: int, recent: Recent) -> Calibration:
    """The calibration for records of `day`: p-values rank them among held-out and `recent` records, weighted by age.

    By its `aging`, which must be there. Strange records among the recent ones stay: leaving out what was flagged would
    make p-values too small, and flags ever more. Where the records of a cell would weigh less than the policy needs,
    its held-out ones count in full whatever their age. What comes of it is for one batch and is never sealed.

    >>> from flowguard.calibration import Aging, FalseAlarmRate, Parts
    >>> held_out = Parts(np.zeros(99), np.linspace(-5, 0, 99), np.full(99, "1"))
    >>> old = Calibration.fit(
    ...     held_out, np.arange(99), policy=FalseAlarmRate(0.1), aging=Aging(window=7), day=np.zeros(99, int))
    >>> recent = Recent(np.linspace(10, 20, 99), np.full(99, "all"), np.full(99, 30))
    >>> float(old.p_value([6.0])[0]), float(rolled(old, 31, recent).p_value([6.0])[0])
    (0.01, 1.0)
    """
    aging, days = calibration.aging, calibration.days
    if aging is None or days is None:
        raise ValueError("a calibration rolls by its aging, and this one has none")
    cells = np.repeat(np.arange(len(calibration.sizes)), calibration.sizes)
    places = calibration.cells.places(recent.cell, len(recent.scores))
    scores = np.concatenate([calibration.scores, recent.scores])
    place = np.concatenate([cells, places])
    weights = aging.weights(day - np.concatenate([days, recent.day]))
    held_out = np.arange(len(scores)) < len(cells)
    for number in range(len(calibration.sizes)):
        mine = place == number
        if weights[mine].sum() < calibration.policy.size_wanted:
            weights[mine & held_out] = 1.0
    kept = weights > 0
    units = np.concatenate([calibration.score_units, np.full(len(recent.scores), -1)])
    when = np.concatenate([days, recent.day])
    order = np.flatnonzero(kept)[np.lexsort((units[kept], scores[kept], place[kept]))]
    return replace(
        calibration,
        scores=scores[order],
        score_units=units[order],
        sizes=tuple(np.bincount(place[order], minlength=len(calibration.sizes)).tolist()),
        days=when[order],
        weights=weights[order],
    )
