"""Scores, p-values, thresholds and the check that they hold. numpy and scipy only."""

from __future__ import annotations

from flowguard.calibration.calibration import Calibration
from flowguard.calibration.conformal import p_value, size_needed, smallest_level
from flowguard.calibration.coverage import RateCheck, check_rate
from flowguard.calibration.policy import FalseAlarmRate
from flowguard.calibration.tail import TailRank

__all__ = [
    "Calibration",
    "FalseAlarmRate",
    "RateCheck",
    "TailRank",
    "check_rate",
    "p_value",
    "size_needed",
    "smallest_level",
]
