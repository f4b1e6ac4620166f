"""The page of a version: one self-contained HTML file, or what the desk shows in a page of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from flowguard.reports import sentences
from flowguard.reports.card import kept
from flowguard.reports.plots import flag_plot, log_scale
from flowguard.reports.render import _SIZES, MOST_BATCHES, _page
from flowguard.reports.version import best_of, calibration_figure, training_figure
from flowguard.reports.version_page import VersionReport, on_version

Plots = Mapping[str, Mapping[str, Markup]]
#: Cells that are listed; the rest is counted.
MOST_CELLS = 500


def render_version(report: VersionReport) -> str:
    """The page of a version: training, calibration and thresholds, what it was made from and what it flagged."""
    return _page("version.html", **version_values(report, {**version_plots(report), **flag_plots(report)}))


def version_plots(report: VersionReport) -> dict[str, dict[str, Markup]]:
    """The plots that never change of a version, each for a desk and for a phone."""
    drawn: dict[str, dict[str, Markup]] = {"training": {}, "calibration": {}}
    for name, width, height in _SIZES:
        if report.history:
            drawn["training"][name] = Markup(training_figure(report.history, width=width, height=height))
        if report.curve.size:
            drawn["calibration"][name] = Markup(calibration_figure(report.curve, width=width, height=height))
    return drawn


def flag_plots(report: VersionReport) -> dict[str, dict[str, Markup]]:
    """The plot of what it flagged in each batch so far."""
    batches = report.batches[-MOST_BATCHES:]
    if not batches:
        return {"flags": {}}
    return {
        "flags": {
            name: Markup(flag_plot(batches, report.asked_rate, width=width, height=height))
            for name, width, height in _SIZES
        }
    }


def version_values(report: VersionReport, plots: Plots) -> dict[str, Any]:
    """What the template `version.html` is filled with, its layout apart."""
    newest = list(reversed(report.batches))
    return {
        "report": report,
        "lead": kept(on_version(report)),
        "plots": plots,
        "best": best_of(report.history),
        "kept": ", ".join(f"{part} of epoch {epoch}" for part, epoch in report.kept.items()),
        "promise": kept(sentences.on_rate(report.holdout, unit=report.unit)) if report.holdout else "",
        "cells": report.cells[:MOST_CELLS],
        "more_cells": max(0, len(report.cells) - MOST_CELLS),
        "checked": any(one.holdout is not None for one in report.cells),
        "tails": any(one.tail for one in report.cells),
        "batches": newest[:MOST_BATCHES],
        "more_batches": max(0, len(newest) - MOST_BATCHES),
        "widest": max((one.share for one in newest if math.isfinite(one.share)), default=0.0),
        "log_scale": bool(newest) and log_scale(report.batches, report.asked_rate),
        "estimates_href": "",
    }
