"""A small detector on one of the tests' tables, fitted in a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from flowguard.calibration import FalseAlarmRate
from flowguard.detector import Columns, Detector, Engine, calibrate, fit, hold
from flowguard.encoding import ContextSettings, FeatureSettings
from flowguard.training import TrainingSettings
from tests.conftest import meters

SMALL = {"family": "maf", "layers": 2, "hidden": [16], "bins": 4}


def table(rows: int, seed: int) -> pa.RecordBatch:
    return meters(rows, seed).combine_chunks().to_batches()[0]


def columns(records: pa.RecordBatch, *, features: Mapping[str, str], context: Mapping[str, ContextSettings]) -> Columns:
    """`features` maps each feature to its front."""
    return Columns(
        features={name: FeatureSettings(front=front) for name, front in features.items()},  # type: ignore[arg-type]
        context=context,
        types={name: str(records.schema.field(name).type) for name in [*features, *context]},
        key=["id"],
    )


def fitted(
    records: pa.RecordBatch,
    *,
    features: Mapping[str, str] = {"power": "standard", "flow": "quantile"},
    context: Mapping[str, ContextSettings] = {
        "site": ContextSettings("category"),
        "hour": ContextSettings("cyclic", period=24),
    },
    architecture: Mapping[str, Any] = SMALL,
    epochs: int = 2,
    tile: int = 256,
) -> Detector:
    """Fitted on `records`, not calibrated."""
    held_out = records.slice(0, len(records) // 5)
    detector, _ = fit(
        lambda: [records.slice(start, 400) for start in range(0, len(records), 400)],
        lambda: [held_out],
        columns=columns(records, features=features, context=context),
        architecture=architecture,
        settings=TrainingSettings(epochs=epochs, batch_size=200, learning_rate=5e-3, seed=3),
        engine=Engine(tile=tile),
        device=torch.device("cpu"),
        threads=1,
    )
    return detector


def calibrated(
    detector: Detector,
    records: pa.RecordBatch,
    *,
    rate: float = 0.01,
    score: Literal["default", "log_likelihood", "mixed", "largest"] = "default",
) -> Detector:
    held = hold(detector, [(records, np.arange(len(records)))])
    return calibrate(detector, held, policy=FalseAlarmRate(rate), score=score)
