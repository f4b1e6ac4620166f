"""Drift: how the data changed under a version since it was calibrated, as the store remembers it, and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flowguard.calibration.drift import DriftRecord
from flowguard.detector import Detector
from flowguard.errors import InputError
from flowguard.logs import scoped
from flowguard.reports import DriftReport, href, render_drift
from flowguard.stages.observe import remembered
from flowguard.stages.pages import RUN, batch_page, drift_page, pages_of
from flowguard.stages.score import detector_of
from flowguard.stages.workspace import Workspace
from flowguard.tables import atomic_text


@dataclass(frozen=True)
class Drifted:
    """The drift of one version's batches, in the order in which they were observed, and the page that shows it."""

    pipeline: str
    version: int
    records: tuple[DriftRecord, ...]
    page: Path

    @property
    def alarms(self) -> tuple[DriftRecord, ...]:
        """Those with which a channel alarmed."""
        return tuple(record for record in self.records if record.alarms)


@scoped
def drift(pipeline: str | Path, *, version: str | int = "champion") -> Drifted:
    """What is remembered of one version's batches, also as a page. Raises `InputError` where it has scored none."""
    workspace = Workspace.open(pipeline)
    wanted = workspace.registry.resolve(workspace.pipeline.name, version)
    records = tuple(record for _, record in remembered(workspace, wanted.version))
    if not records:
        raise InputError(
            f"No batch of {workspace.pipeline.name} has been scored by version {wanted.version}. "
            f"Score some first: flowguard score {workspace.relative(workspace.pipeline.path)}"
        )
    newest = max(workspace.store.drift.observed(workspace.pipeline.name), default=None)
    page = pages_of(workspace) / drift_page(wanted.version, newest)
    shown = drift_report(workspace, wanted.version, detector_of(workspace, wanted), records)
    atomic_text(page, render_drift(shown))
    return Drifted(workspace.pipeline.name, wanted.version, records, page)


def drift_report(
    workspace: Workspace,
    version: int,
    detector: Detector,
    records: Sequence[DriftRecord],
    *,
    run_href: str | None = None,
    hrefs: Mapping[str, str] | None = None,
) -> DriftReport:
    """What the drift page of a version is made from; it links to the pages that are there, or as it is told."""
    calibration = detector.calibration
    if run_href is None or hrefs is None:
        folder = pages_of(workspace)
        pages = {record.batch: batch_page(record.batch) for record in records}
        run_href = RUN if (folder / RUN).exists() else ""
        hrefs = {batch: href(page) for batch, page in pages.items() if (folder / page).exists()}
    return DriftReport(
        pipeline=workspace.pipeline.name,
        version=str(version),
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        records=records,
        redact=detector.redact,
        run_href=run_href,
        hrefs=hrefs,
        group_columns=calibration.cells.by if calibration else (),
    )
