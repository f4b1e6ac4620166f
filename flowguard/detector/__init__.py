"""The fitted whole (encoder + density + calibration), its scores, and the sealed bundle that holds it."""

from __future__ import annotations

from flowguard.detector.bundle import digest
from flowguard.detector.detector import Detector, Engine, Scores
from flowguard.detector.evaluate import Evaluation
from flowguard.detector.face import FlowDetector
from flowguard.detector.fit import Columns, Held, calibrate, check_hold_out, fit, hold
from flowguard.detector.groups import group_counts
from flowguard.detector.storage import load, save

__all__ = [
    "Columns",
    "Detector",
    "Engine",
    "Evaluation",
    "FlowDetector",
    "Held",
    "Scores",
    "calibrate",
    "check_hold_out",
    "digest",
    "fit",
    "group_counts",
    "hold",
    "load",
    "save",
]
