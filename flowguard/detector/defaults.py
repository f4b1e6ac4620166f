"""What `FlowDetector` decides where nothing is said: the density, who trains and who calibrates, the level."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from flowguard.calibration import FalseAlarmRate
from flowguard.calibration.conformal import smallest_level
from flowguard.detector.detector import Detector
from flowguard.detector.fit import Held, ScoreName, calibrate, hold
from flowguard.errors import CalibrationError

LEVEL = 0.01
"""The default false alarm rate; on tables too small for it, the smallest that their calibration supports."""

KERNEL = 2000
"""Records that kernel densities keep beside the flow."""
FLOW = {
    "family": "maf",
    "transformer": "affine",
    "orders": 2,
    "layers": 2,
    "hidden": None,
    "dropout": None,
    "noise": None,
}
"""The flow, unless another family is named; None is left to the size of the table."""

VALIDATION, CALIBRATION = 0.1, 0.2


def architecture(model: Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings of the density: those given, and the defaults of what they leave open."""
    given = dict(model or {})
    # Settings of one family mean nothing to another.
    return {"kernel": KERNEL, **(FLOW if given.get("family", "maf") == "maf" else {}), **given}


def split(table: pa.Table, *, seed: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Records to train on, to stop by and to calibrate on, at random: 70, 10, 20 %; of 9 or fewer, all to train."""
    order = np.random.default_rng([seed, len(table)]).permutation(len(table))
    stop, held = (int(len(table) * share) for share in (VALIDATION, CALIBRATION))
    if not stop:
        return table, table, table.slice(0, 0)
    return table.take(order[stop + held :]), table.take(order[:stop]), table.take(order[stop : stop + held])


def held_of(detector: Detector, table: pa.Table) -> Held:
    """The records of a table as a calibration needs them, each a unit of its own."""
    return hold(detector, [(batch, np.arange(len(batch))) for batch in table.combine_chunks().to_batches()])


def calibrated(detector: Detector, table: pa.Table, *, level: float | None, score: ScoreName) -> tuple[Detector, float]:
    """Calibrated on `table` at the level asked for, or the best there is, and that level.

    Without calibration, and with a warning, where no record is held out; CalibrationError where a level was asked for
    that cannot be supported. Called by `FlowDetector.fit`, whose caller the warnings point at.
    """
    records, wanted = held_of(detector, table), LEVEL if level is None else level
    if not len(records):
        if level is not None:
            raise CalibrationError("No record is left to calibrate on; a level cannot be guaranteed.")
        warnings.warn("The table is too small to calibrate on: p-values are 1 and nothing is flagged.", stacklevel=3)
        return detector, wanted
    try:
        return calibrate(detector, records, policy=FalseAlarmRate(wanted), score=score), wanted
    except CalibrationError:
        if level is not None:
            raise
    # Half of the records may be needed to rank densities; what is left is known once they are split.
    loose = calibrate(detector, records, policy=FalseAlarmRate(0.999999), score=score)
    assert loose.calibration is not None
    wanted = smallest_level(loose.calibration.size)
    warnings.warn(
        f"The table is too small for a false alarm rate of {LEVEL:g}: {wanted:.3g} is the smallest "
        "level that its calibration records support, and is used. Give more records, or name a level.",
        stacklevel=3,
    )
    return calibrate(detector, records, policy=FalseAlarmRate(wanted), score=score), wanted
