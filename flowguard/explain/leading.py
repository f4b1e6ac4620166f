"""Leading reasons: those of a record that count for what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flowguard.explain.reason import Reason

#: A reason counts with this part of the share of its record's first ...
LEADING = 0.3
#: ... and from so many nats on by itself.
ALONE = 10.0

_LEAST, _MOST = 1e-3, 1e12


def leading(reasons: Sequence[Reason]) -> list[Reason]:
    """The reasons that count, one a column."""
    least = _bar(reasons)
    found: dict[str, Reason] = {}
    for reason in sorted(reasons, key=lambda reason: reason.rank):
        if strength_of(reason) >= least:
            found.setdefault(reason.column, reason)
    return list(found.values())


def complete(reasons: Sequence[Reason], most: int) -> bool:
    """Whether all leading reasons of a record are among these, of which at most the `most` first were written.

    Reasons are ranked by contrast (or share), which is no less than strength: where the last one's falls short of
    leading, those that were not written do so too.
    """
    if len(reasons) < most:
        return True
    last = max(reasons, key=lambda reason: reason.rank)
    ranked = contrast_of(last)
    return finite(last.share if ranked is None else ranked) < _bar(reasons)


def strength_of(reason: Reason | None) -> float:
    """How much a reason explains, as a positive finite number of nats; what is no number ranks as the largest.

    The lesser of its share and its contrast, where it has both: a column that follows from a wrong one before it has a
    share but no contrast, as its own best value would help little; one that others after it no longer fit has a
    contrast but no share. The wrong one has both.
    """
    if reason is None:
        return _LEAST
    ranked = contrast_of(reason)
    if ranked is None:
        return finite(reason.share)
    return finite(ranked if math.isnan(reason.share) else min(ranked, reason.share))


def contrast_of(reason: Reason | None) -> float | None:
    """Its contrast, None where it has none."""
    found = getattr(reason, "contrast", None)
    return None if found is None or math.isnan(found) else float(found)


def finite(nats: float | None) -> float:
    """Nats as a positive finite number, the largest for what is no number."""
    return _MOST if nats is None or math.isnan(nats) else min(max(nats, _LEAST), _MOST)


def _bar(reasons: Sequence[Reason]) -> float:
    return min(LEADING * max((strength_of(reason) for reason in reasons), default=0.0), ALONE)
