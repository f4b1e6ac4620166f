"""How far values lie outside their expected ranges: parts that do so by clearly different amounts, and rules in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flowguard.explain.reason import Reason
from flowguard.explain.words import number

#: Parts of a case stand apart where no more than this share of its records lies between how far both are out ...
BETWEEN = 0.02
#: ... over at least this factor, and so many times what the middle half of either part spans ...
GAP, CLEAR = 1.5, 1.5
#: ... or over this factor where one part is fewer than 10 or 5 %: long tails have gaps of their own.
WIDE_GAP, FEW, SMALL = 5.0, 10, 0.05
#: Fewer records do not stand apart, nor have a rule in common.
APART = 5


def distance(reason: Reason | None) -> float:
    """log of how far a value is from the middle of its range, in half widths: 0 at its ends, and where it has none.

    >>> round(distance(Reason("", 1, "x", 9.0, 9.0, 65.0, "65", 107.0, 121.0, "")), 2)
    1.95
    """
    if reason is None or reason.observed is None or reason.low is None or reason.high is None:
        return 0.0
    half = (reason.high - reason.low) / 2
    apart = abs(reason.observed - (reason.low + reason.high) / 2)
    return min(max(math.log(apart / half), 0.0), 700.0) if half > 0 and apart > 0 else 0.0


def gap_in(distances: NDArray[np.float64]) -> tuple[float, float]:
    """The widest gap between two parts of sorted `distances` and its middle; 0 where none is clear.

    >>> gap_in(np.array([0.1, 0.2, 0.3, *[4.0] * 20]))
    (3.7, 2.15)
    """
    n, between = len(distances), int(BETWEEN * len(distances))
    best = 0.0, 0.0
    for i in range(n - between - APART):
        low, high = float(distances[i]), float(distances[i + between + 1])
        gap = high - low
        if gap <= max(best[0], math.log(GAP)):
            continue
        middle = (low + high) / 2
        cut = int(np.searchsorted(distances, middle, side="right"))
        far, near = distances[cut:], distances[:cut]
        if len(far) < APART or (min(len(far), len(near)) < max(FEW, SMALL * n) and gap < math.log(WIDE_GAP)):
            continue
        if gap >= CLEAR * max(_spread(near), _spread(far)):
            best = gap, middle
    return best


def rule(reasons: Sequence[Reason]) -> str:
    """How observed and expected values go together, in words, where it is the same in most records.

    >>> off = [Reason("", 1, "x", 9.0, 9.0, 60.0 * v, "", v - 1, v + 1, "") for v in (9.0, 10.0, 11.0, 12.0, 13.0)]
    >>> rule(off), rule(off[:2])
    (' (about 60 times what was expected)', '')
    """
    both = [
        (reason.observed, (reason.low + reason.high) / 2, reason.high - reason.low)
        for reason in reasons
        if reason.observed is not None and reason.low is not None and reason.high is not None
    ]
    if len(both) < APART or len(both) < 0.8 * len(reasons):
        return ""
    observed, usual, width = np.array(both).T
    near = np.abs(usual) > width
    found = []
    if near.mean() >= 0.8 and (observed[near] * usual[near] > 0).all():
        logs = np.log(observed[near] / usual[near])
        middle = float(np.median(logs))
        if abs(middle) >= math.log(1.5):
            times = math.exp(abs(middle))
            said = f"about {_round(times)} times what" if middle > 0 else f"about 1/{_round(times)} of what"
            found.append((_spread(logs) / abs(middle), f" ({said} was expected)"))
    apart = observed - usual
    middle = float(np.median(apart))
    if abs(middle) >= 2.0 * float(np.median(width)):
        said = f"about {_round(abs(middle))} {'more' if middle > 0 else 'less'} than expected"
        found.append((_spread(apart) / abs(middle), f" ({said})"))
    spread, words = min(found, default=(math.inf, ""))
    return words if spread <= 0.1 else ""


def _spread(values: NDArray[np.float64]) -> float:
    low, high = np.quantile(values, (0.25, 0.75))
    return float(high - low)


def _round(value: float) -> str:
    """Two digits.

    >>> _round(60.3), _round(273.2), _round(1.74)
    ('60', '270', '1.7')
    """
    return number(float(f"{value:.1e}"))
