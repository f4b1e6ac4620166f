"""Asked against observed: the share of records that was to be flagged, and the share that was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from flowguard.calibration import Calibration, FalseAlarmRate
from flowguard.reports import RateLine
from flowguard.stages.manifest import Manifest


def asked_share(calibration: Calibration) -> float:
    """The share of ordinary records that may be flagged; NaN where the policy promises something else."""
    return float(calibration.policy.to_dict().get("false_alarm_rate", math.nan))


def rate_line(
    name: str, manifests: Sequence[Manifest], calibration: Calibration, *, cell: str | None = None
) -> RateLine:
    """Asked against observed; the standard error is clustered by batch and holds the calibration's own error."""
    counts = [(m.scored, m.flagged) if cell is None else tuple(m.cells.get(cell, (0, 0))) for m in manifests]
    scored, flagged = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    asked = asked_share(calibration)
    if not scored or math.isnan(asked):
        return RateLine(name, scored, flagged, asked, flagged / scored if scored else math.nan, math.nan)
    flags = np.concatenate([np.arange(all_of) < few for all_of, few in counts])
    units = np.repeat(np.arange(len(counts)), [all_of for all_of, _ in counts]).astype(str)
    check = calibration.check_rate(flags, units, cell=cell)
    batches = sum(all_of > 0 for all_of, _ in counts)
    return RateLine(name, scored, flagged, check.asked, check.observed, check.standard_error, batches)


def holdout_line(facts: Mapping[str, float], calibration: Calibration, unit: str) -> RateLine:
    """The check on the hold-out: of the flags of a false alarm rate, else of the p-values up to a level."""
    rate = isinstance(calibration.policy, FalseAlarmRate)
    return RateLine(
        "Hold-out" if rate else f"Hold-out, p-values up to {facts['asked']:.3g}",
        int(facts["records"]),
        round(facts["observed"] * facts["records"]),
        facts["asked"],
        facts["observed"],
        facts["standard_error"],
        int(facts["units"]),
        unit,
    )
