"""Where records lie: in the flow's noise, and in what it is conditioned on."""

from __future__ import annotations

import numpy as np
import torch

from flowguard.detector.detector import Detector
from flowguard.detector.evaluate import sealed_threads, tiles
from flowguard.encoding import Encoded
from flowguard.explain.counterparts import Located, Nearest, nearest


def locate(detector: Detector, encoded: Encoded) -> Located:
    """The records with their noise; a record's does not depend on the others."""
    rows = []
    with sealed_threads(detector.engine.threads), torch.inference_mode():
        for part, inputs in tiles(encoded, detector.engine.tile):
            rows.append(detector.density.latent(inputs)[: part.stop - part.start].double().numpy())
    return Located(encoded, np.concatenate(rows))


def nearest_records(detector: Detector, one: Encoded, among: Encoded, *, count: int) -> Nearest:
    """The `count` records of `among` that are nearest to the one of `one`; `Nearest.gaps` has `entries` for columns."""
    widths = [column.width for column in detector.encoder.numeric]
    return nearest(locate(detector, one), locate(detector, among), widths=widths, count=count)


def entries(detector: Detector) -> list[tuple[str, str]]:
    """The name of every feature and context entry with the raw column that it reads, in the order of `gaps`."""
    encoder = detector.encoder
    features = [(feature.name, feature.column) for feature in encoder.features]
    numeric = [(column.name, column.column) for column in encoder.numeric]
    levels = [(name, item.column) for name, item in zip(encoder.category_names, encoder.categories, strict=True)]
    return features + numeric + levels
