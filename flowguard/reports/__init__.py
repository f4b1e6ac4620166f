"""Pages and pictures: one self-contained HTML file per batch, per run, per model version and for drift."""

from __future__ import annotations

from flowguard.reports.drift_page import DriftReport, drift_in_a_line
from flowguard.reports.drift_render import drift_values, render_drift
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
from flowguard.reports.version import CalibrationCurve, calibration_plot, training_plot
from flowguard.reports.version_page import AliasLine, CellLine, EstimateLine, GateLine, VersionReport
from flowguard.reports.version_render import flag_plots, render_version, version_plots, version_values

__all__ = [
    "STYLESHEET",
    "AliasLine",
    "BatchReport",
    "BatchSummary",
    "CalibrationCurve",
    "CaseLine",
    "CellLine",
    "DriftReport",
    "EstimateLine",
    "FlaggedRecord",
    "GateLine",
    "RateLine",
    "RunReport",
    "ScoreHistogram",
    "VersionReport",
    "calibration_plot",
    "drift_in_a_line",
    "drift_values",
    "environment",
    "flag_plots",
    "href",
    "render_batch",
    "render_drift",
    "render_run",
    "render_version",
    "run_picture",
    "score_histogram",
    "training_plot",
    "version_plots",
    "version_values",
]
