"""A flagged record as a card: what the templates of pages and of the desk show of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flowguard.explain.reason import Reason
from flowguard.explain.words import redacted_reason
from flowguard.reports.page import FlaggedRecord


def card(record: FlaggedRecord, redact: Sequence[str] = ()) -> dict[str, object]:
    """What the macro `record_card` shows of a record: key, reasons with bars and strips, the rest of its values."""
    largest = max((abs(_nats(r)) for r in record.reasons if math.isfinite(_nats(r))), default=0.0)
    named = {r.column for r in record.reasons}
    return {
        "record": record,
        "none": "No reasons were written for this record.",
        "open": False,  # whether its values show at once
        "link": "",  # where its key leads; the desk sets it
        "key": [(name, value) for name, value in record.key.items() if name not in redact],
        "reasons": [_reason(r, largest, redact) for r in record.reasons],
        "values": [
            (name, value, name in named)
            for name, value in record.values.items()
            if name not in redact and name not in record.key
        ],
    }


def _reason(reason: Reason, largest: float, redact: Sequence[str]) -> dict[str, object]:
    hidden, column = reason.column in redact, kept(reason.column)
    said = kept(redacted_reason(reason.column) if hidden else reason.words)
    nats = _nats(reason)
    bar = abs(nats) / largest if largest > 0 and math.isfinite(nats) else 0.0
    return {
        "column": reason.column,
        "rest": said.removeprefix(column),
        "lone": "" if said.startswith(column) else said,
        "nats": nats,
        "measure": "share of what makes it strange" if reason.contrast is None else "likelier at its best value",
        "share": reason.share if reason.contrast is not None and math.isfinite(reason.share) else None,
        "bar": f"{100 * min(bar, 1.0):.1f}",
        "strip": None if hidden else _strip(reason),
    }


def _nats(reason: Reason) -> float:
    """What reasons are ranked by: the contrast, in files that have none the share."""
    return reason.share if reason.contrast is None else reason.contrast


def _strip(reason: Reason) -> dict[str, str] | None:
    """Where the expected range and the observed value lie on a line, in percent of its length."""
    if reason.observed is None or reason.low is None or reason.high is None:
        return None
    points = (reason.low, reason.high, reason.observed)
    left, span = min(points), max(points) - min(points)
    if not (math.isfinite(span) and span > 0):
        return None
    low, high, at = (4.0 + 92.0 * (p - left) / span for p in points)
    return {"low": f"{low:.1f}", "width": f"{max(high - low, 1.5):.1f}", "at": f"{at:.1f}"}


def kept(sentence: str) -> str:
    """The sentence with its per cent signs tied to their numbers."""
    return sentence.replace(" %", "\u00a0%")  # no line may begin with a per cent sign
