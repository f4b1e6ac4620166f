"""Rolling: the calibration of a version as it is for one day, with the records that it scored shortly before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flowguard.calibration import Calibration, Recent, rolled
from flowguard.detector import Detector
from flowguard.detector.fit import NO_DAY
from flowguard.errors import FlowguardError
from flowguard.registry import Version
from flowguard.stages.exclude import excluded
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


def roll(workspace: Workspace, version: Version, detector: Detector, batch: str) -> Rolled | None:
    """The calibration of `version` for the records of a daily batch; None where none rolls or the batch has no day.

    Days that `detector` was trained or calibrated on do not count, though the version may have scored them: it knows
    the records of the former, and those of the latter are in its reference already.
    What came later than the batch does not count, so that scoring a past day again gives what it gave, as long as the
    days before it are as they were. Of these `reference` names the first, the last, their number and a digest.
    Records that people confirmed as anomalies do not count either: verdicts given since do change what a past day
    gives, and `reference` says which were left out. Nor do days whose scores retention took away, which `reference`
    counts.
    """
    day, calibration = day_of(batch), detector.calibration
    if calibration is None or calibration.aging is None or day is None:
        return None
    today = int(day) - EPOCH
    counting = sorted(_before(workspace, version, reach(detector, today)), key=lambda one: one[0])
    before = [(number, manifest) for number, manifest in counting if "scores" in manifest.files]
    pruned = sum(manifest.was_pruned("scores") for _, manifest in counting)
    spec = workspace.pipeline
    confirmed = workspace.store.verdicts.confirmed(spec.name) if spec.verdicts.exclude_confirmed and before else {}
    met: list[str] = []
    found = [_read(workspace, manifest, number, confirmed, met) for number, manifest in before]
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
            **({"pruned": pruned} if pruned else {}),
            **({"excluded": excluded({"scored": len(met)}, set(met), confirmed).to_dict()} if met else {}),
        },
    )


def reach(detector: Detector, today: int) -> range:
    """The day numbers whose records a batch of `today` is ranked among, where the version scored them."""
    aging = detector.calibration.aging if detector.calibration is not None else None
    if aging is None:
        return range(0)
    return range(max(_first_unknown(detector), today - aging.horizon + 1), today)


def _first_unknown(detector: Detector) -> int:
    """The first day after all that the version was trained or calibrated on."""
    ends = [detector.calibration.dates[1]] if detector.calibration and detector.calibration.dates else []
    after = [date.fromisoformat(end).toordinal() + 1 - EPOCH for end in ends]
    until = detector.provenance.get("split", {}).get("until")
    return max([*after, *([date.fromisoformat(until).toordinal() - EPOCH] if until else [])], default=NO_DAY)


def _before(workspace: Workspace, version: Version, days: range) -> Iterator[tuple[int, Manifest]]:
    """Of these days those that the version scored, with their manifests."""
    for manifest in manifests(workspace.folder, version=version.version):
        number = number_of(manifest.batch)
        if manifest.bundle == version.digest and number is not None and number in days:
            yield number, manifest


def number_of(batch: str) -> int | None:
    """The day number of a daily batch, None for any other."""
    day = day_of(batch)
    return None if day is None else int(day) - EPOCH


def _read(
    workspace: Workspace, manifest: Manifest, day: int, confirmed: Mapping[str, int], met: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, cell and day number of a scored batch's records, less those confirmed, whose ids are added to `met`."""
    path = workspace.folder / manifest.files["scores"]
    if not path.exists():
        raise FlowguardError(
            f"{path} is gone, which the manifest of batch {manifest.batch} names, and later days are ranked among its "
            f"records. Score it again: `flowguard score {workspace.pipeline.path} --batch {manifest.batch}`."
        )
    columns = ["score", "group", *(["record_id"] if confirmed else [])]
    table = pq.read_table(path, columns=columns, partitioning=None)
    if confirmed:
        out = pc.is_in(table["record_id"], value_set=pa.array(list(confirmed), pa.string()))
        met.extend(table["record_id"].filter(out).to_pylist())
        table = table.filter(pc.invert(out))
    return table["score"].to_numpy(), table["group"].to_numpy().astype(str), np.full(table.num_rows, day)
