"""Units are a matter of writing: metres or millimetres, the likelihood differs by a constant and p-values do not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from flowguard.calibration import FalseAlarmRate
from flowguard.detector import Columns, Engine, calibrate, fit, hold
from flowguard.encoding import Encoder, FeatureSettings
from flowguard.training import TrainingSettings

FEATURES = {
    "length": FeatureSettings(front="quantile"),
    "width": FeatureSettings(front="standard"),
    "gap": FeatureSettings(front="robust"),
    "pieces": FeatureSettings(kind="integer"),
    "maker": FeatureSettings(kind="category"),
}
CONTINUOUS = ("length", "width", "gap")


def parts(rows: int, seed: int, *, factor: float) -> pa.RecordBatch:
    """Lengths in metres times `factor`; `gap` is zero in a third of the records and sometimes missing."""
    random = np.random.default_rng(seed)
    length = random.gamma(3.0, 0.2, rows)
    gap = np.where(random.random(rows) < 0.3, 0.0, random.normal(0.02, 0.005, rows))
    gap[random.random(rows) < 0.1] = np.nan
    return pa.record_batch(
        {
            "length": length * factor,
            "width": (length * 0.5 + random.normal(0, 0.01, rows)) * factor,
            "gap": pa.array(gap * factor, from_pandas=True),
            "pieces": random.poisson(4.0, rows),
            "maker": pa.array(np.array(["A", "B", "C"])[random.integers(0, 3, rows)]),
        }
    )


@pytest.mark.parametrize("family", ["maf", "realnvp", "gaussian"])
def test_likelihoods_differ_by_a_constant_and_p_values_do_not(family: str) -> None:
    metres, millimetres = ({seed: parts(600, seed, factor=f) for seed in range(4)} for f in (1.0, 1000.0))
    detector, _ = fit(
        lambda: [metres[0]],
        lambda: [metres[1]],
        columns=Columns(features=FEATURES, context={}, types={}),
        architecture={"family": family},
        settings=TrainingSettings(epochs=2, batch_size=100),
        engine=Engine(),
        device=torch.device("cpu"),
        threads=1,
    )
    encoder = Encoder.fit(FEATURES, {}, [millimetres[0]], seed=0)
    other = replace(detector, encoder=encoder)
    first, second = (
        calibrate(each, hold(each, [(data[2], np.arange(600))]), policy=FalseAlarmRate(0.05)).score(data[3])
        for each, data in ((detector, metres), (other, millimetres))
    )
    codes = detector.encode(metres[3]).codes[:, :3]
    observed = (codes == 0).sum(axis=1)
    assert len(np.unique(observed)) > 1
    np.testing.assert_allclose(first.log_mass, second.log_mass, atol=1e-9, rtol=0)
    np.testing.assert_allclose(first.log_density - second.log_density, observed * math.log(1000), atol=1e-6, rtol=0)
    assert np.abs(first.p_value - second.p_value).max() <= 2 / 601
