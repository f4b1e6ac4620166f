"""AUROC by verdicts: how often a version ranks an anomaly above an ordinary record, of all that it scored.

Decided records are no sample of all: most are flagged ones. Each stands for as many as one of its kind was decided of,
flagged or drawn from the unflagged ones, in its batch (Horvitz & Thompson 1952).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from flowguard.review.strata import CONFIDENCE, ENOUGH, Stratum, highest, share

Array = NDArray[np.float64]
OF_EACH = 10
"""So many decided records of either kind, anomalies and ordinary ones, it takes to show an AUROC."""
Scored = Sequence[tuple[float, bool]]


@dataclass(frozen=True)
class Looked:
    """One batch: scores of its decided flagged and drawn records, and whether each was confirmed."""

    flagged_size: int
    unflagged_size: int
    flagged: Scored
    drawn: Scored


@dataclass(frozen=True)
class Auroc:
    """An estimated AUROC, between `low` and `high` with the confidence asked for; None where unknown.

    It is of the records of `batches`, whose flagged and unflagged ones were looked at: `confirmed` and `ordinary` were
    decided, `drawn` of them of the unflagged, of which `missed` were anomalies.
    """

    estimate: float | None
    low: float | None
    high: float | None
    batches: int
    confirmed: int
    ordinary: int
    drawn: int
    missed: int

    def __str__(self) -> str:
        if self.estimate is None or self.low is None or self.high is None:
            return "unknown"
        return f"{_digits(self.estimate)} ({_digits(self.low)} to {_digits(self.high)})"

    @property
    def decided(self) -> int:
        """The decided records that it rests on."""
        return self.confirmed + self.ordinary

    @property
    def enough(self) -> bool:
        """Whether there are enough verdicts of both kinds, and on drawn records, to show it beside a version."""
        return min(self.confirmed, self.ordinary) >= OF_EACH and self.drawn >= ENOUGH


def auroc(batches: Sequence[Looked], *, confidence: float = CONFIDENCE) -> Auroc:
    """P(an anomaly scores above an ordinary record) + P(they tie) / 2, among all records of `batches`.

    A decided record weighs size / decided of its kind in its batch: flagged, or unflagged. Batches of which a kind was
    not looked at at all are left out, as its weight would be unknown.

    The interval assumes that the decided of a kind are a random sample of it in each batch and that batches are
    independent and not few. With `OF_EACH` anomalies among the drawn records it is all a that the estimate does not
    differ from by more than z deviations, by Hanley & McNeil's variance (1982) at a, for effective sample sizes (Kish),
    times how much more DeLong's components (1988), weighted and summed by batch, vary than it says.

    With fewer, what was missed is hardly known, and such an interval would be far too short. It goes through all that
    agrees with the verdicts then: A = (F A_F + R) / (F + R + W) for F flagged anomalies, A_F as above, and the
    unflagged ones' sums R of the shares of ordinary records below them and W of those above them, bounded as `share`
    bounds a number of anomalies. Nothing is assumed of where missed anomalies rank, so that it is wide until enough
    were drawn.

    >>> day = Looked(2, 100, [(9.0, True), (5.0, False)], [(1.0, False), (2.0, False)])
    >>> round(auroc([day] * 10).estimate, 4)
    1.0
    """
    known = [
        one
        for one in batches
        if (one.flagged or not one.flagged_size)
        and (one.drawn or not one.unflagged_size)
        and (one.flagged or one.drawn)
    ]
    score, anomaly, weight, flagged, batch = _columns(known)
    counts = {
        "batches": len(known),
        "confirmed": int(anomaly.sum()),
        "ordinary": int((~anomaly).sum()),
        "drawn": int((~flagged).sum()),
        "missed": int((anomaly & ~flagged).sum()),
    }
    if not counts["confirmed"] or not counts["ordinary"]:
        return Auroc(None, None, None, **counts)
    place = _placements(score, anomaly, weight)
    estimate = float(np.average(place[anomaly], weights=weight[anomaly]))
    caught, missed = anomaly & flagged, anomaly & ~flagged
    if counts["missed"] >= OF_EACH:
        low, high = _score_interval(score, anomaly, weight, batch, confidence)
        return Auroc(estimate, low, high, **counts)
    ends_of_caught = (0.0, 1.0)
    if caught.any():
        rows = caught | ~anomaly
        ends_of_caught = _score_interval(score[rows], anomaly[rows], weight[rows], batch[rows], confidence)
    right = _sum_of(known, np.where(missed, place, 0.0), flagged, batch, confidence)
    wrong = _sum_of(known, np.where(missed, 1 - place, 0.0), flagged, batch, confidence)
    low, high = 1.0, 0.0
    for number in _caught(known, confidence):
        for end, (up, down) in enumerate(((right[0], wrong[1]), (right[1], wrong[0]))):
            if number + up + down > 0:
                mixed = (number * ends_of_caught[end] + up) / (number + up + down)
                low, high = min(low, mixed), max(high, mixed)
    return Auroc(estimate, min(low, estimate), max(high, estimate), **counts)


def _columns(known: Sequence[Looked]) -> tuple[Array, NDArray[np.bool_], Array, NDArray[np.bool_], NDArray[np.intp]]:
    """Score, whether an anomaly, weight, whether flagged, and number of the batch of every decided record."""
    rows = [
        (score, anomaly, max(size, len(its)) / len(its), kind, number)
        for number, one in enumerate(known)
        for its, size, kind in ((one.flagged, one.flagged_size, True), (one.drawn, one.unflagged_size, False))
        for score, anomaly in its
    ]
    score, anomaly, weight, flagged, batch = zip(*rows) if rows else ((), (), (), (), ())
    return (
        np.array(score, dtype=np.float64),
        np.array(anomaly, dtype=bool),
        np.array(weight, dtype=np.float64),
        np.array(flagged, dtype=bool),
        np.array(batch, dtype=np.intp),
    )


def _placements(score: Array, anomaly: NDArray[np.bool_], weight: Array) -> Array:
    """Of each record the share of the other kind that it is on the right side of; ties count half."""
    place = np.empty(len(score))
    for mine, sign in ((anomaly, 1.0), (~anomaly, -1.0)):
        others, its = sign * score[~mine], weight[~mine]
        order = np.argsort(others, kind="stable")
        below = np.concatenate([[0.0], np.cumsum(its[order])])
        at = [np.searchsorted(others[order], sign * score[mine], side=side) for side in ("left", "right")]
        place[mine] = (below[at[0]] + below[at[1]]) / 2 / below[-1]
    return place


def _score_interval(
    score: Array, anomaly: NDArray[np.bool_], weight: Array, batch: NDArray[np.intp], confidence: float
) -> tuple[float, float]:
    """All a with |estimate - a| <= z sqrt(widened variance at a): never empty or of no width, also at 0 and 1."""
    place = _placements(score, anomaly, weight)
    sizes = [float(weight[mine].sum() ** 2 / (weight[mine] ** 2).sum()) for mine in (anomaly, ~anomaly)]
    found = float(np.average(place[anomaly], weights=weight[anomaly]))
    parts = weight * (place - found) / np.where(anomaly, weight[anomaly].sum(), weight[~anomaly].sum())
    seen = 0.0
    for groups in (np.arange(len(parts)), batch):
        sums = np.bincount(groups, weights=parts)
        count = len(np.unique(groups))
        if count > 1:
            seen = max(seen, float((sums**2).sum()) * count / (count - 1))
    expected = _variance(found, *sizes)
    wider = max(1.0, seen / expected) if expected > 0 else 1.0
    z = float(ndtri((1 + confidence) / 2))

    def misfit(a: float) -> float:
        return (found - a) ** 2 - z * z * wider * _variance(a, *sizes)

    low = 0.0 if found <= 0 else float(brentq(misfit, 0.0, found)) if misfit(0.0) > 0 else 0.0
    high = 1.0 if found >= 1 else float(brentq(misfit, found, 1.0)) if misfit(1.0) > 0 else 1.0
    return low, high


def _variance(a: float, anomalies: float, ordinary: float) -> float:
    """Hanley & McNeil's variance of an AUROC a from so many independent records of either kind."""
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    spread = a * (1 - a) + (anomalies - 1) * (q1 - a * a) + (ordinary - 1) * (q2 - a * a)
    return max(spread, 0.0) / (anomalies * ordinary)


def _sum_of(
    known: Sequence[Looked], value: Array, flagged: NDArray[np.bool_], batch: NDArray[np.intp], confidence: float
) -> tuple[float, float]:
    """Bounds on the sum of a value in [0, 1] over all unflagged records, from the drawn ones."""
    drawn = np.array([len(one.drawn) for one in known], dtype=np.float64)
    size = np.array([max(one.unflagged_size, len(one.drawn)) for one in known], dtype=np.float64)
    if not drawn.any():
        return 0.0, 0.0
    sums = np.bincount(batch[~flagged], weights=value[~flagged], minlength=len(known))
    some = drawn > 0
    weight, draws, mean = size[some] / size.sum(), drawn[some], sums[some] / drawn[some]
    tail = (1 - confidence) / 2
    high = highest(weight, draws, float((weight * mean).sum()), tail)
    low = 1 - highest(weight, draws, float((weight * (1 - mean)).sum()), tail)
    return max(low, 0.0) * float(size.sum()), high * float(size.sum())


def _caught(known: Sequence[Looked], confidence: float) -> tuple[float, float]:
    """How many anomalies there are at least and at most among the flagged records."""
    strata = [
        Stratum(max(one.flagged_size, len(one.flagged)), len(one.flagged), sum(anomaly for _, anomaly in one.flagged))
        for one in known
    ]
    found = share(strata, confidence=confidence)
    if found.bounds is None or found.low is None or found.high is None:
        return 0.0, 0.0
    # What was decided is known, and the rest can be no more than all of it.
    least, most = found.bounds
    return max(found.low, least) * found.size, min(found.high, most) * found.size


def _digits(value: float) -> str:
    """As many digits as tell it from 0 and 1.

    >>> _digits(0.9741), _digits(0.99996), _digits(1.0), _digits(0.5)
    ('0.974', '0.99996', '1', '0.5')
    """
    if value in (0.0, 1.0):
        return f"{value:.0f}"
    places = max(3, math.ceil(-math.log10(min(value, 1 - value))))
    return f"{value:.{min(places, 9)}f}".rstrip("0")
