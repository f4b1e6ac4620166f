"""Review: what people decide on records, and what their verdicts say of a version. NumPy, SciPy and the store only."""

from __future__ import annotations

from flowguard.review.audit import AUDITED, audited
from flowguard.review.auroc import Auroc, Looked, auroc
from flowguard.review.precision import Quality, quality
from flowguard.review.rules import DIRECTIONS, Condition, Scope, Side, Span, first_covering, scope_of
from flowguard.review.strata import ENOUGH, Share, Stratum, share
from flowguard.review.verdicts import Judged, decide, decide_case, standing, undo, undo_case

__all__ = [
    "AUDITED",
    "DIRECTIONS",
    "ENOUGH",
    "Auroc",
    "Condition",
    "Judged",
    "Looked",
    "Quality",
    "Scope",
    "Share",
    "Side",
    "Span",
    "Stratum",
    "audited",
    "auroc",
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
