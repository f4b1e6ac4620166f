"""What records are ranked by: one small class a score, all behind one contract, chosen by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from flowguard.calibration.scores.experts import Experts
from flowguard.calibration.scores.fisher import Fisher
from flowguard.calibration.scores.higher_criticism import HigherCriticism
from flowguard.calibration.scores.largest import Largest
from flowguard.calibration.scores.log_likelihood import LogLikelihood
from flowguard.calibration.scores.mixed import Mixed
from flowguard.calibration.scores.score import Score
from flowguard.calibration.scores.sum import Sum
from flowguard.calibration.scores.typicality import Typicality
from flowguard.errors import CalibrationError

ScoreName = Literal[
    "default", "log_likelihood", "mixed", "largest", "typicality", "sum", "fisher", "higher_criticism", "experts"
]
"""What may be asked for; `default` is experts where there are several, else log_likelihood or mixed by the table."""

SCORES: Mapping[str, type[Score]] = {
    score.name: score for score in (LogLikelihood, Mixed, Largest, Typicality, Sum, Fisher, HigherCriticism, Experts)
}
"""Every score by its name."""


def by_name(name: str) -> type[Score]:
    """The score of that name; CalibrationError, which names those there are, where there is none.

    >>> by_name("mixed").__name__
    'Mixed'
    """
    if name not in SCORES:
        raise CalibrationError(f"there is no score {name!r}; expected `default` or one of {', '.join(SCORES)}")
    return SCORES[name]


__all__ = [
    "SCORES",
    "Experts",
    "Fisher",
    "HigherCriticism",
    "Largest",
    "LogLikelihood",
    "Mixed",
    "Score",
    "ScoreName",
    "Sum",
    "Typicality",
    "by_name",
]
