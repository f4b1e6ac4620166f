"""Observe: the drift record of every scored batch, remembered in the store in the order of the batches."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

from flowguard.calibration.drift import BatchSummary, DriftMonitor, DriftRecord
from flowguard.detector import Detector
from flowguard.registry import Version
from flowguard.stages.workspace import Workspace
from flowguard.store import Alarm
from flowguard.store import DriftRecord as Remembered


def remembered(workspace: Workspace, version: int) -> list[tuple[BatchSummary, DriftRecord]]:
    """The summaries and records of a version's batches, in the order in which they were first observed."""
    kept = _in_order(workspace.store.drift.of(workspace.pipeline.name, version=version))
    return [
        (BatchSummary.from_json(one.document["summary"]), DriftRecord.from_json(one.document["record"])) for one in kept
    ]


def newest(workspace: Workspace) -> tuple[int, tuple[DriftRecord, ...]] | None:
    """The newest version that has observed batches, and their records in order; None where none has."""
    kept = workspace.store.drift.of(workspace.pipeline.name)
    if not kept:
        return None
    version = max(one.version for one in kept)
    mine = _in_order(one for one in kept if one.version == version)
    return version, tuple(DriftRecord.from_json(one.document["record"]) for one in mine)


def observe(workspace: Workspace, version: Version, detector: Detector, summary: BatchSummary) -> DriftRecord:
    """The drift record of a batch that was just scored, put into the store.

    The monitor's state is what replaying the summaries before it gives: nothing else has to be kept, and a batch that
    is scored again gets the same record at the same place. Of two runs at once neither sees the other's batch.
    """
    assert detector.watched is not None
    monitor = monitor_of(workspace, detector)
    before = remembered(workspace, version.version)
    names = [known.batch for known, _ in before]
    place = names.index(summary.batch) if summary.batch in names else len(names)
    state = monitor.begin(detector.watched.earlier)
    for known, _ in before[:place]:
        if known.batch not in state.batches:
            state, _ = monitor.observe(state, known)
    _, record = monitor.observe(state, summary)
    named = record.drift.kind if record.drift else ""
    alarms = tuple(Alarm(key, named, record.log_martingales[key]) for key in record.alarms)
    workspace.store.drift.put(
        Remembered(
            pipeline=workspace.pipeline.name,
            batch=summary.batch,
            version=version.version,
            document={"place": place, "summary": summary.to_json(), "record": record.to_json()},
            alarms=alarms,
            measured_at=datetime.now(UTC),
        )
    )
    return record


def monitor_of(workspace: Workspace, detector: Detector) -> DriftMonitor:
    """The rule by which a version's batches are watched."""
    assert detector.watched is not None
    name = workspace.pipeline.name
    return DriftMonitor(detector.watched.reference, name, chance=workspace.pipeline.drift.chance)


def day_of(batch: str) -> float | None:
    """The date of a batch that is a day, as a number."""
    try:
        return float(date.fromisoformat(batch).toordinal())
    except ValueError:
        return None


def _in_order(kept: Iterable[Remembered]) -> list[Remembered]:
    return sorted(kept, key=lambda one: (one.document["place"], one.measured_at, one.batch))
