"""Figures of a model version, as SVG files for the registry: its training, and its calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from flowguard.explain.words import number
from flowguard.reports.canvas import PAPER, drawing, label, svg_file
from flowguard.reports.sentences import rate

if TYPE_CHECKING:
    from flowguard.calibration import Calibration


def training_plot(history: Sequence[Mapping[str, Any]]) -> str:
    """Mean negative log-likelihood per epoch in training and validation: the text of an SVG file.

    `history` holds one mapping per epoch with `epoch`, `train_nll` and `validation_nll`; the best is marked.
    """
    with drawing(760, 320, "training", ink=PAPER) as (figure, axes):
        epochs = np.array([row["epoch"] for row in history], dtype=float)
        for name, text, color in (
            ("train_nll", "training", PAPER.soft),
            ("validation_nll", "validation", PAPER.accent),
        ):
            values = np.array([row[name] for row in history], dtype=float)
            axes.plot(epochs, values, color=color, lw=1.8, label=text, marker="o", ms=3)
        # `values` is the validation's from here on: the epoch whose weights were kept.
        if np.isfinite(values).any():
            best = int(np.nanargmin(values))
            text = f"best: {number(float(values[best]))} in epoch {epochs[best]:.0f}"
            axes.axvline(epochs[best], color=PAPER.alert, lw=1.2, ls=(0, (4, 3)), label=text)
            axes.legend(frameon=False, labelcolor=PAPER.text)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        _title(axes, "Negative log-likelihood per record (nats) by epoch")
        return svg_file(figure)


def calibration_plot(calibration: Calibration) -> str:
    """Share of calibration records at or above each score, with the threshold: the text of an SVG file."""
    with drawing(760, 320, "calibration", ink=PAPER) as (figure, axes):
        scores = calibration.scores
        size, asked = len(scores), calibration.rate_checked
        # At most 2,000 points of the curve, every one of the last hundred, where the threshold is.
        places = np.unique(np.concatenate([np.linspace(0, size - 1, 1900).astype(int), np.arange(size)[-100:]]))
        heights = np.log10((size - places) / size)
        axes.plot(scores[places], heights, color=PAPER.accent, lw=1.8, drawstyle="steps-pre")
        axes.axhline(math.log10(asked), color=PAPER.soft, lw=1.2, ls=(0, (4, 3)))
        if math.isfinite(calibration.threshold):
            axes.axvline(calibration.threshold, color=PAPER.alert, lw=1.4, ls=(0, (4, 3)))
            text = f"threshold {number(calibration.threshold)} at {rate(asked)} asked"
            label(axes, calibration.threshold, 1.0, text, PAPER.alert)
        decades = range(0, math.floor(float(heights.min())) - 1, -1)
        axes.set_yticks(list(decades), [f"{100 * 10.0**d:.6g} %" for d in decades])
        _title(axes, f"Share of {size:,} calibration records at or above a score")
        return svg_file(figure)


def _title(axes: Any, text: str) -> None:
    axes.set_position((0.085, 0.11, 0.89, 0.76))
    axes.figure.text(0.02, 0.95, text, color=PAPER.text, fontsize=10, fontweight="bold", va="center")
