"""The scores of a batch beside those the threshold was calibrated on, binned."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowguard.reports.page import ScoreHistogram


def score_histogram(
    scores: ArrayLike, reference: ArrayLike, *, threshold: float, bins: int = 48
) -> ScoreHistogram | None:
    """Both distributions over the same bins, the threshold well inside; None without a finite score.

    Scores below the lowest edge (0.1 % of either at most) fall into the first bin, scores above the highest
    are counted apart.

    >>> h = score_histogram([1.0, 2.0, 90.0], [1.0, 2.0, 3.0], threshold=4.0, bins=4)
    >>> h.batch_above, h.highest, float(round(h.batch.sum(), 3))
    (1, 90.0, 0.667)
    """
    batch, ordinary = _finite(scores), _finite(reference)
    if not len(batch) and not len(ordinary):
        return None
    low = min(float(np.quantile(a, 0.001)) for a in (batch, ordinary) if len(a))
    top = float(np.quantile(ordinary if len(ordinary) else batch, 0.999))
    if np.isfinite(threshold):
        low = min(low, threshold)
        top = max(top, threshold + 0.3 * (threshold - low))
    if not top > low:
        low, top = low - 0.5, top + 0.5
    edges = np.linspace(low, top, bins + 1)
    return ScoreHistogram(
        edges=edges,
        batch=_shares(batch, edges),
        reference=_shares(ordinary, edges),
        batch_above=int((batch > top).sum()),
        reference_above=int((ordinary > top).sum()),
        highest=float(batch.max()) if len(batch) else float("nan"),
    )


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    return array[np.isfinite(array)]


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.maximum(values[values <= edges[-1]], edges[0])
    counts, _ = np.histogram(inside, bins=edges)
    return counts / max(len(values), 1)
