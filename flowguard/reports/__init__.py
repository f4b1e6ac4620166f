"""Pages and pictures of what was scored: one self-contained HTML file per batch, per run and for drift."""

from __future__ import annotations

from flowguard.reports.drift_page import DriftReport, drift_in_a_line
from flowguard.reports.drift_render import render_drift
from flowguard.reports.histogram import score_histogram
from flowguard.reports.page import (
    BatchReport,
    BatchSummary,
    CaseLine,
    FlaggedRecord,
    RateLine,
    RunReport,
    ScoreHistogram,
    href,
)
from flowguard.reports.picture import run_picture
from flowguard.reports.render import STYLESHEET, environment, render_batch, render_run
from flowguard.reports.version import calibration_plot, training_plot

__all__ = [
    "STYLESHEET",
    "BatchReport",
    "BatchSummary",
    "CaseLine",
    "DriftReport",
    "FlaggedRecord",
    "RateLine",
    "RunReport",
    "ScoreHistogram",
    "calibration_plot",
    "drift_in_a_line",
    "environment",
    "href",
    "render_batch",
    "render_drift",
    "render_run",
    "run_picture",
    "score_histogram",
    "training_plot",
]
