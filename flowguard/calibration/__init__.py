"""Scores, p-values, thresholds and the check that they hold. numpy and scipy only."""

from __future__ import annotations

from flowguard.calibration.aging import Aging
from flowguard.calibration.calibration import Calibration, Ties
from flowguard.calibration.cells import Cells
from flowguard.calibration.conformal import p_value, size_needed, smallest_level, smoothed_p_value, uniform_of
from flowguard.calibration.coverage import RateCheck, check_rate
from flowguard.calibration.cross import cross_p_value
from flowguard.calibration.difference import AurocDifference, Difference, auroc_difference, mean_difference
from flowguard.calibration.extrapolate import Tail
from flowguard.calibration.p_values import PValues
from flowguard.calibration.parts import Parts
from flowguard.calibration.policy import (
    Budget,
    Decision,
    FalseAlarmRate,
    FalseDiscoveryRate,
    History,
    Policy,
    read_policy,
)
from flowguard.calibration.rolling import Recent, rolled
from flowguard.calibration.scores import SCORES, Score, ScoreName
from flowguard.calibration.tail import TailRank
from flowguard.calibration.too_many import FlaggedShare, too_many
from flowguard.calibration.weighted import effective_size, forgetting_weights, weighted_p_value, weighted_size

__all__ = [
    "SCORES",
    "Aging",
    "AurocDifference",
    "Budget",
    "Calibration",
    "Cells",
    "Decision",
    "Difference",
    "FalseAlarmRate",
    "FalseDiscoveryRate",
    "FlaggedShare",
    "History",
    "PValues",
    "Parts",
    "Policy",
    "RateCheck",
    "Recent",
    "Score",
    "ScoreName",
    "Tail",
    "TailRank",
    "Ties",
    "auroc_difference",
    "check_rate",
    "cross_p_value",
    "effective_size",
    "forgetting_weights",
    "mean_difference",
    "p_value",
    "read_policy",
    "rolled",
    "size_needed",
    "smallest_level",
    "smoothed_p_value",
    "too_many",
    "uniform_of",
    "weighted_p_value",
    "weighted_size",
]
