"""Drift: what changed since calibration, with alarms that stay valid however often one looks."""

from __future__ import annotations

from flowguard.calibration.drift.batch_test import BatchTest, batch_p_value
from flowguard.calibration.drift.channel import Channel
from flowguard.calibration.drift.martingale import Capital, coin, rank, threshold
from flowguard.calibration.drift.monitor import DriftMonitor, DriftState
from flowguard.calibration.drift.naming import Drift, Kind, Moved, name_drift
from flowguard.calibration.drift.record import DriftRecord
from flowguard.calibration.drift.records import Records
from flowguard.calibration.drift.reference import Reference, seal
from flowguard.calibration.drift.summary import BatchSummary

__all__ = [
    "BatchSummary",
    "BatchTest",
    "Capital",
    "Channel",
    "Drift",
    "DriftMonitor",
    "DriftRecord",
    "DriftState",
    "Kind",
    "Moved",
    "Records",
    "Reference",
    "batch_p_value",
    "coin",
    "name_drift",
    "rank",
    "seal",
    "threshold",
]
