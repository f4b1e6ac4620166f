"""Drift: what every scored batch says of how the data changed, remembered in the store in the order of the batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from flowguard.calibration.drift import BatchSummary, DriftMonitor, DriftRecord
from flowguard.detector import Detector
from flowguard.errors import InputError
from flowguard.registry import Version
from flowguard.stages.workspace import Workspace
from flowguard.store import Alarm
from flowguard.store import DriftRecord as Remembered


@dataclass(frozen=True)
class Drifted:
    """The drift of one version's batches, in the order in which they were observed."""

    pipeline: str
    version: int
    records: tuple[DriftRecord, ...]

    @property
    def alarms(self) -> tuple[DriftRecord, ...]:
        """Those with which a channel alarmed."""
        return tuple(record for record in self.records if record.alarms)


def drift(pipeline: str | Path, *, version: str | int = "champion") -> Drifted:
    """What is remembered of one version's batches. Raises `InputError` where it has scored none."""
    workspace = Workspace.open(pipeline)
    wanted = workspace.registry.resolve(workspace.pipeline.name, version)
    known = remembered(workspace, wanted)
    if not known:
        raise InputError(
            f"No batch of {workspace.pipeline.name} has been scored by version {wanted.version}. "
            f"Score some first: flowguard score {workspace.relative(workspace.pipeline.path)}"
        )
    return Drifted(workspace.pipeline.name, wanted.version, tuple(record for _, record in known))


def remembered(workspace: Workspace, version: Version) -> list[tuple[BatchSummary, DriftRecord]]:
    """The summaries and records of a version's batches, in the order in which they were first observed."""
    kept = workspace.store.drift.of(workspace.pipeline.name, version=version.version)
    kept.sort(key=lambda one: (one.document["place"], one.measured_at, one.batch))
    return [
        (BatchSummary.from_json(one.document["summary"]), DriftRecord.from_json(one.document["record"])) for one in kept
    ]


def observe(workspace: Workspace, version: Version, detector: Detector, summary: BatchSummary) -> DriftRecord:
    """The drift record of a batch that was just scored, put into the store.

    The monitor's state is what replaying the summaries before it gives: nothing else has to be kept, and a batch that
    is scored again gets the same record at the same place. Of two runs at once neither sees the other's batch.
    """
    assert detector.watched is not None
    monitor = monitor_of(workspace, detector)
    before: Sequence[tuple[BatchSummary, DriftRecord]] = remembered(workspace, version)
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
