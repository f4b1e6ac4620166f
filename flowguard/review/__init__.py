"""Review: what people decide on records, and what their verdicts say of a version. NumPy, SciPy and the store only."""

from __future__ import annotations

from flowguard.review.audit import AUDITED, audited
from flowguard.review.precision import ENOUGH, Quality, Share, Stratum, quality, share
from flowguard.review.rules import DIRECTIONS, Condition, Scope, Side, Span, first_covering, scope_of
from flowguard.review.verdicts import Judged, decide, decide_case, standing, undo, undo_case

__all__ = [
    "AUDITED",
    "DIRECTIONS",
    "ENOUGH",
    "Condition",
    "Judged",
    "Quality",
    "Scope",
    "Share",
    "Side",
    "Span",
    "Stratum",
    "audited",
    "decide",
    "decide_case",
    "first_covering",
    "quality",
    "scope_of",
    "share",
    "standing",
    "undo",
    "undo_case",
]
