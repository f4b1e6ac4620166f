"""Scores, p-values, thresholds and the check that they hold. numpy and scipy only."""

from __future__ import annotations

from flowguard.calibration.calibration import Calibration
from flowguard.calibration.cells import Cells
from flowguard.calibration.conformal import p_value, size_needed, smallest_level
from flowguard.calibration.coverage import RateCheck, check_rate
from flowguard.calibration.parts import Parts
from flowguard.calibration.policy import FalseAlarmRate
from flowguard.calibration.scores import SCORES, Score, ScoreName
from flowguard.calibration.tail import TailRank

__all__ = [
    "SCORES",
    "Calibration",
    "Cells",
    "FalseAlarmRate",
    "Parts",
    "RateCheck",
    "Score",
    "ScoreName",
    "TailRank",
    "check_rate",
    "p_value",
    "size_needed",
    "smallest_level",
]
