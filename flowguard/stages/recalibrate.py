"""Recalibrate: new thresholds for the weights of a version that is there; what comes of it is a version of its own."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flowguard import detector as detectors
from flowguard.detector import Detector
from flowguard.errors import CalibrationError
from flowguard.logs import note, scoped
from flowguard.registry import Version
from flowguard.spec.sections import CalibrationSection
from flowguard.stages.calibrate import Calibrated, cells_of, seal
from flowguard.stages.deal import time_of
from flowguard.stages.dealing import Dealing
from flowguard.stages.exclude import Excluded, Exclusion
from flowguard.stages.progress import work
from flowguard.stages.register import Registered, register
from flowguard.stages.score import detector_of
from flowguard.stages.workspace import Workspace
from flowguard.tables import Fingerprint, unit_of


@dataclass(frozen=True)
class Recalibrated:
    """The version whose weights were taken, and the one that came of it.

    `excluded` are the confirmed anomalies that were left out of its calibration.
    """

    parent: Version
    calibrated: Calibrated
    registered: Registered
    excluded: Excluded | None = None


@scoped
def recalibrate(
    pipeline: str | Path,
    *,
    version: str | int = "champion",
    since: dt.date | None = None,
    until: dt.date | None = None,
) -> Recalibrated:
    """Calibrate a version anew, by the policy that the pipeline file has now, on records it was not trained on.

    Records of `since` to `until`, or where neither is given of the split's period. Of the period that the version was
    trained on, those that its split dealt to calibration and hold-out; of any other, all, dealt out to both by hash of
    whole units. Those that people confirmed as anomalies are left out.
    Nothing is trained and nothing is overwritten: weights and encoder keep their bytes, and the new version is
    registered as challenger. Raises `CalibrationError` when no such record is there or the policy needs more of them.
    """
    workspace = Workspace.open(pipeline)
    spec = workspace.resolved()
    parent = workspace.registry.resolve(spec.name, version)
    note(version=parent.version)
    detector = detector_of(workspace, parent)
    period = (since, until) if since or until else (spec.split.since, spec.split.until)
    dealing = _dealing(detector, spec.split.model_dump(mode="json"))
    drafts = workspace.folder / "work"
    drafts.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".recalibrating-", dir=drafts))
    fingerprint, records = Fingerprint(), dict.fromkeys(("calibration", "holdout"), 0)
    by = spec.groups
    read = list(dict.fromkeys([*detector.columns, *dealing.unit, *([spec.source.time] if spec.source.time else [])]))
    exclusion = Exclusion.of(workspace, list(detector.columns))
    also = [name for name in exclusion.columns if name not in read]
    time = time_of(spec)
    kept = list(dict.fromkeys([*detector.columns, *([time] if time else [])]))
    try:

        def chunks(part: str) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
            source = workspace.source()
            for whole in source.read([*read, *also], since=period[0], until=period[1], exclude=spec.exclude):
                chunk, out = whole.select(read), exclusion.mask(whole)
                mask = dealing.parts(chunk, spec.source.time) == part
                exclusion.count(part, int((out & mask).sum()))
                mine = chunk.filter(pa.array(mask & ~out))
                if part == "calibration":
                    fingerprint.update(chunk)
                if mine.num_rows:
                    records[part] += mine.num_rows
                    bar.advance(mine.num_rows)
                    yield mine.select(kept), unit_of(mine, unit=dealing.unit)

        held = {}
        for part in records:
            with work(f"evaluating the {part} records") as bar:
                held[part] = detectors.hold(detector, chunks(part), by=by, watched=True, time=time)
        if not len(held["calibration"]):
            raise CalibrationError(
                f"No record from {period[0] or 'the beginning'} to {period[1] or 'the end'} is left to calibrate "
                f"{parent} on: there is none, or it was trained on all of them. Give another period with --since and "
                "--until."
            )
        trained = workspace.source().read(read, since=dealing.since, until=dealing.until, exclude=spec.exclude)
        training = (chunk.filter(pa.array(dealing.parts(chunk, spec.source.time) == "train")) for chunk in trained)
        counts = detectors.group_counts(by, training, detector.encoder)
        cells = cells_of(spec, counts, share=len(held["calibration"]) / max(1, sum(counts.values())))
        facts, left_out = dict(detector.provenance), exclusion.made
        days = [str(day or "") for day in period] if any(period) else []
        origin = {"version": parent.version, "bundle": parent.digest, "period": days}
        # What the weights were trained without stays known; the calibration is of other records.
        trained_without = facts.pop("excluded", None)
        trained_without = facts.get("recalibrated", {"excluded": trained_without}).get("excluded")
        if trained_without is not None:
            origin["excluded"] = trained_without
        if left_out is not None:
            facts["excluded"] = left_out.to_dict()
        known = [parent.digest, spec.policy.model_dump(mode="json"), spec.score, fingerprint.hexdigest()]
        if spec.calibration != CalibrationSection():
            known.append(spec.calibration.model_dump(mode="json"))
        if left_out is not None:
            known.append({"excluded": left_out.digest})
        changed = replace(
            detector,
            digest="",
            calibration=None,
            provenance={
                **facts,
                "training": hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16],
                "fingerprint": fingerprint.hexdigest(),
                "records": {**facts["records"], **records},
                "recalibrated": origin,
            },
        )
        made = seal(spec, changed, held["calibration"], held["holdout"], cells=cells, folder=folder / "bundle")
        registered = register(pipeline, made.folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Recalibrated(parent, made, registered, left_out)


def _dealing(detector: Detector, split: Mapping[str, Any]) -> Dealing:
    """How the version's records were dealt out; refused where the pipeline file now deals out otherwise."""
    then = detector.provenance["split"]
    for name in ("unit", "train", "validation", "calibration", "holdout", "salt"):
        if then[name] != split[name]:
            raise CalibrationError(
                f"split.{name} is {split[name]!r} now and was {then[name]!r} when the version was trained: which "
                "records it was trained on could no longer be told. Put it back, or train a new version."
            )
    return Dealing.of(detector)
