"""Figures of a model version: its training, and its calibration; as SVG files for the registry, and for pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from flowguard.explain.words import number
from flowguard.reports.canvas import PAGE, PAPER, Ink, drawing, label, svg, svg_file
from flowguard.reports.sentences import rate

if TYPE_CHECKING:
    from flowguard.calibration import Calibration


@dataclass(frozen=True, eq=False)
class CalibrationCurve:
    """Of some scores (n,), ascending, the share (n,) of the `size` calibration records at or above each.

    `asked` is the share that was to lie above the `threshold`, which is NaN under policies that have none.
    """

    scores: NDArray[np.float64]
    shares: NDArray[np.float64]
    size: int
    asked: float
    threshold: float

    @classmethod
    def of(cls, calibration: Calibration) -> CalibrationCurve:
        """At most 2,000 points, every one of the last hundred, where the threshold is."""
        # Scores lie cell after cell, sorted within each.
        scores = np.sort(calibration.scores)
        size = len(scores)
        places = np.unique(np.concatenate([np.linspace(0, size - 1, 1900).astype(int), np.arange(size)[-100:]]))
        return cls(scores[places], (size - places) / size, size, calibration.rate_checked, float(calibration.threshold))


def training_plot(history: Sequence[Mapping[str, Any]]) -> str:
    """Mean negative log-likelihood per epoch in training and validation: the text of an SVG file.

    `history` holds one mapping per epoch with `epoch`, `train_nll` and `validation_nll`; the best is marked.
    """
    with drawing(760, 320, "training", ink=PAPER) as (figure, axes):
        best = _training(axes, history, PAPER)
        if best:
            axes.legend(frameon=False, labelcolor=PAPER.text)
        _title(axes, "Negative log-likelihood per record (nats) by epoch")
        return svg_file(figure)


def training_figure(history: Sequence[Mapping[str, Any]], *, width: int = 980, height: int = 260) -> str:
    """The same for a page, whose own text says what the lines are: an ``<svg>``."""
    with drawing(width, height, f"training{width}") as (figure, axes):
        _training(axes, history, PAGE)
        return svg(figure)


def calibration_plot(calibration: Calibration) -> str:
    """Share of calibration records at or above each score, with the threshold: the text of an SVG file."""
    curve = CalibrationCurve.of(calibration)
    with drawing(760, 320, "calibration", ink=PAPER) as (figure, axes):
        _calibration(axes, curve, PAPER)
        _title(axes, f"Share of {curve.size:,} calibration records at or above a score")
        return svg_file(figure)


def calibration_figure(curve: CalibrationCurve, *, width: int = 980, height: int = 260) -> str:
    """The same for a page: an ``<svg>``."""
    with drawing(width, height, f"calibration{width}") as (figure, axes):
        _calibration(axes, curve, PAGE, short=width < 600)
        ticks = MaxNLocator(max(3, width // 130)).tick_values(*axes.get_xlim())
        low, high = axes.get_xlim()
        ticks = [t for t in ticks if low <= t <= high]
        axes.set_xticks(ticks, [number(float(t)) for t in ticks])
        return svg(figure)


def best_of(history: Sequence[Mapping[str, Any]]) -> tuple[int, float] | None:
    """The epoch whose weights were kept, and its validation; None where no epoch has a number.

    >>> best_of([{"epoch": 1, "validation_nll": 12.0}, {"epoch": 2, "validation_nll": 10.5}])
    (2, 10.5)
    """
    values = np.array([row["validation_nll"] for row in history], dtype=float)
    if not np.isfinite(values).any():
        return None
    best = int(np.nanargmin(values))
    return int(history[best]["epoch"]), float(values[best])


def _training(axes: Axes, history: Sequence[Mapping[str, Any]], ink: Ink) -> tuple[int, float] | None:
    epochs = np.array([row["epoch"] for row in history], dtype=float)
    for name, text, color in (("train_nll", "training", ink.soft), ("validation_nll", "validation", ink.accent)):
        values = np.array([row[name] for row in history], dtype=float)
        axes.plot(epochs, values, color=color, lw=1.8, label=text, marker="o", ms=3)
    best = best_of(history)
    if best is not None:
        text = f"best: {number(best[1])} in epoch {best[0]}"
        axes.axvline(best[0], color=ink.alert, lw=1.2, ls=(0, (4, 3)), label=text)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return best


def _calibration(axes: Axes, curve: CalibrationCurve, ink: Ink, *, short: bool = False) -> None:
    heights = np.log10(curve.shares)
    axes.plot(curve.scores, heights, color=ink.accent, lw=1.8, drawstyle="steps-pre")
    axes.axhline(math.log10(curve.asked), color=ink.soft, lw=1.2, ls=(0, (4, 3)))
    if math.isfinite(curve.threshold):
        axes.axvline(curve.threshold, color=ink.alert, lw=1.4, ls=(0, (4, 3)))
        left, right = axes.get_xlim()
        text = f"threshold {number(curve.threshold)}" + ("" if short else f" at {rate(curve.asked)} asked")
        # To the left of its line, or to the right where there is no room.
        if curve.threshold - left > 0.4 * (right - left):
            label(axes, curve.threshold, 1.0, text, ink.alert)
        else:
            label(axes, right, 1.0, text, ink.alert)
    # Above 100 % there is room for the label.
    axes.set_ylim(top=0.45)
    decades = range(0, math.floor(float(heights.min())) - 1, -1)
    axes.set_yticks(list(decades), [f"{100 * 10.0**d:.6g} %" for d in decades])


def _title(axes: Axes, text: str) -> None:
    axes.set_position((0.085, 0.11, 0.89, 0.76))
    axes.figure.text(0.02, 0.95, text, color=PAPER.text, fontsize=10, fontweight="bold", va="center")
