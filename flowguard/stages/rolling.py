"""Rolling: the calibration of a version as it is for one day, with the records that it scored shortly before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from flowguard.calibration import Calibration, Recent, rolled
from flowguard.detector.fit import NO_DAY
from flowguard.errors import FlowguardError
from flowguard.registry import Version
from flowguard.stages.manifest import Manifest, manifests
from flowguard.stages.observe import day_of
from flowguard.stages.workspace import Workspace
from flowguard.tables.period import EPOCH
from flowguard.tables.period import day_of as date_of


@dataclass(frozen=True)
class Rolled:
    """A calibration for one batch, and what it rests on as plain JSON for the batch's manifest."""

    calibration: Calibration
    reference: dict[str, object]


def roll(workspace: Workspace, version: Version, calibration: Calibration, batch: str) -> Rolled | None:
    """The calibration of `version` for the records of a daily batch; None where none rolls or the batch has no day.

    What came later than the batch does not count, so that scoring a past day again gives what it gave, as long as the
    days before it are as they were. Of these `reference` names the first, the last, their number and a digest.
    """
    day = day_of(batch)
    if calibration.aging is None or day is None:
        return None
    today = int(day) - EPOCH
    before = sorted(_before(workspace, version, today, calibration.aging.horizon), key=lambda one: one[0])
    found = [_read(workspace, manifest, number) for number, manifest in before]
    recent = Recent(
        np.concatenate([np.zeros(0), *(scores for scores, _, _ in found)]),
        np.concatenate([np.zeros(0, dtype=str), *(cell for _, cell, _ in found)]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(days for _, _, days in found)]),
    )
    made = rolled(calibration, today, recent)
    assert made.days is not None
    assert made.weights is not None
    known = made.days[made.days != NO_DAY]
    digest = hashlib.sha256("".join(f"{one.batch} {one.fingerprint}\n" for _, one in before).encode()).hexdigest()[:16]
    return Rolled(
        made,
        {
            "rule": calibration.aging.words,
            "batches": len(before),
            "digest": digest,
            "records": made.size,
            "weight": round(float(made.weights.sum()), 1),
            "first": date_of(known.min()).isoformat() if len(known) else None,
            "last": date_of(known.max()).isoformat() if len(known) else None,
        },
    )


def _before(workspace: Workspace, version: Version, today: int, horizon: int) -> Iterator[tuple[int, Manifest]]:
    """The days before `today` and within the horizon that the version scored, with their manifests."""
    for manifest in manifests(workspace.folder, version=version.version):
        day = day_of(manifest.batch)
        number = -1 if day is None else int(day) - EPOCH
        if manifest.bundle == version.digest and today - horizon < number < today and "scores" in manifest.files:
            yield number, manifest


def _read(workspace: Workspace, manifest: Manifest, day: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, cell and day number of a scored batch's records."""
    path = workspace.folder / manifest.files["scores"]
    if not path.exists():
        raise FlowguardError(
            f"{path} is gone, which the manifest of batch {manifest.batch} names, and later days are ranked among its "
            f"records. Score it again: `flowguard score {workspace.pipeline.path} --batch {manifest.batch}`."
        )
    table = pq.read_table(path, columns=["score", "group"], partitioning=None)
    return table["score"].to_numpy(), table["group"].to_numpy().astype(str), np.full(table.num_rows, day)
