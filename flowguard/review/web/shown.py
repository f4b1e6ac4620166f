"""Queued batches and records as the templates show them."""

from __future__ import annotations

import math
from threading import Lock
from typing import Any

import numpy as np
from markupsafe import Markup

from flowguard.reports.card import card
from flowguard.reports.page import FlaggedRecord, ScoreHistogram
from flowguard.stages.enqueue import PLOTS
from flowguard.stages.queued import reasons_of
from flowguard.store import QueuedBatch, QueuedRecord

DRAWING = Lock()  # Matplotlib's settings are of the process, not of a thread
#: Pixels of a plot left and right of its axes.
_LEFT, _RIGHT = 56, 16


def card_of(record: QueuedRecord, href: str = "") -> dict[str, Any]:
    """What the macro `record_card` shows; its key leads to `href`."""
    document = record.document
    shown = FlaggedRecord(
        record_id=record.record_id,
        key=document["key"],
        log_likelihood=_number(document.get("log_likelihood")),
        score=record.score,
        p_value=record.p_value,
        extrapolated=bool(document.get("extrapolated")),
        reasons=reasons_of(record),
        values=document["values"],
    )
    made = {**card(shown), "link": href, "queued": record}
    if not record.flagged:
        made |= {"none": "Not flagged: one of those drawn at random. Is it ordinary?", "open": True}
    return made


def histogram_of(batch: QueuedBatch) -> ScoreHistogram | None:
    """The batch's scores over those of the calibration, None where there were none."""
    kept = batch.document.get("histogram")
    if kept is None:
        return None
    arrays = {name: np.array(kept[name], dtype=np.float64) for name in ("edges", "batch", "reference")}
    return ScoreHistogram(
        **arrays,
        batch_above=kept["batch_above"],
        reference_above=kept["reference_above"],
        highest=_number(kept["highest"]),
    )


def score_plots(batch: QueuedBatch) -> dict[str, Markup]:
    """The plots of a batch's scores, for a desk and for a phone, which were drawn when it was queued."""
    return {name: Markup(batch.document["plots"][name]) for name in batch.document.get("plots") or ()}


def marked(batch: QueuedBatch, score: float) -> dict[str, str]:
    """Where a score lies on these plots, in percent of their width; at the right edge where it lies beyond."""
    histogram = histogram_of(batch)
    if histogram is None or math.isnan(score):
        return {}
    left, right = float(histogram.edges[0]), float(histogram.edges[-1])
    part = min(max((score - left) / (right - left), 0.0), 1.0)
    return {name: f"{100 * (_LEFT + part * (w - _LEFT - _RIGHT)) / w:.2f}" for name, w, _ in PLOTS}


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
