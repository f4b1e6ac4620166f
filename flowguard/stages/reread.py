"""A scored record read again: by the version that scored it, from the source as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from flowguard.calibration import FalseAlarmRate
from flowguard.detector import Detector, load
from flowguard.errors import BundleError, RegistryError, SchemaError, SourceError
from flowguard.explain import Reason
from flowguard.stages.counterparts import Drawn, draw, draw_around
from flowguard.stages.lookup import Found
from flowguard.stages.manifest import Manifest
from flowguard.stages.score import detector_of
from flowguard.stages.workspace import Workspace
from flowguard.tables import Batch

Origin = Literal["unchanged", "written again", "redelivered", "gone", "not looked at"]

_SAME = 1e-6
"""Log-likelihoods closer than this, relatively, are those of one content: machines differ by less."""


def detector_then(workspace: Workspace, manifest: Manifest, notes: list[str]) -> Detector | None:
    """The version that scored the batch, None with a note where it cannot be had any more.

    Where it was fetched before, nothing else is asked: every byte is checked, and the digest says which it is.
    """
    fetched = workspace.runs / ".bundles" / manifest.bundle
    try:
        if fetched.is_dir():
            detector = load(fetched)
            if detector.digest == manifest.bundle:
                return detector
    except BundleError:
        pass  # the registry fetches it anew
    try:
        version = workspace.registry.resolve(manifest.model, manifest.version)
        if version.digest != manifest.bundle:
            notes.append(f"The registry's version {manifest.version} is another one now than the one that scored it.")
            return None
        return detector_of(workspace, version)
    except (RegistryError, BundleError) as error:
        notes.append(f"Version {manifest.version} cannot be asked again: {error}")
        return None


def threshold_then(manifest: Manifest, detector: Detector | None, cell: str | None) -> float | None:
    """The score above which records of the cell were flagged; None where the policy looks at more than the score."""
    if cell is None or not isinstance(manifest.rule, FalseAlarmRate):
        return None
    # Where a version ranks by age, every batch has thresholds of its own.
    own = vars(manifest).get("thresholds")
    if own is not None:
        return float(own[cell]) if cell in own else None
    if detector is None or detector.calibration is None:
        return None
    return detector.calibration.thresholds.get(cell)


def cell_size(manifest: Manifest, detector: Detector | None, cell: str | None) -> int | None:
    if cell is None or detector is None or detector.calibration is None or vars(manifest).get("thresholds") is not None:
        return None
    return dict(zip(detector.calibration.cells.names, detector.calibration.sizes, strict=True)).get(cell)


def reasons_now(detector: Detector, one: pa.RecordBatch, record_id: str, top: int) -> tuple[Reason, ...]:
    """The reasons of a record for which none were written."""
    encoded = detector.encode(one)
    evaluation = detector.evaluate(encoded, by_column=True)
    (found,) = detector.reasons(one, encoded, evaluation, np.arange(1), record_ids=[record_id], top=top)
    return tuple(found)


def drawn_again(
    workspace: Workspace,
    detector: Detector,
    one: Found,
    neighbours: Sequence[Manifest],
    *,
    ordinary: bool,
    again: str,
    notes: list[str],
) -> tuple[Drawn, Origin]:
    """The record as the source has it now, with ordinary ones, and what became of it since it was scored.

    `again` is the command that scores the batch again.
    """
    batch, drawn = one.manifest.batch, Drawn()
    try:
        with workspace.source() as source:
            stamp = source.stamp(Batch(batch, 0))
            drawn = draw(workspace, source, detector, one.manifest, one.record_id, ordinary=ordinary)
            if ordinary and drawn.one is not None:
                draw_around(workspace, source, detector, neighbours, drawn)
        same = drawn.one is not None and (stamp == one.manifest.stamp or _same(detector, drawn.one, one))
    except (SourceError, SchemaError, KeyError, OSError) as error:
        why = "" if isinstance(error, KeyError) else f" ({str(error).rstrip('.')})"
        notes.append(f"The source no longer has batch {batch} as it was{why}: this is from the files of its scoring.")
        return Drawn(), "gone"
    if drawn.one is None:
        notes.append(
            f"The source no longer has this record in batch {batch}: it was removed, or its "
            f"{'key' if workspace.pipeline.source.key else 'content'} changed, after it was scored."
        )
        return Drawn(), "gone"
    if not same:
        notes.append(
            "The record was delivered again with other content since it was scored, and nothing of the new content is "
            f"told here. Score it: `{again}`."
        )
        return Drawn(), "redelivered"
    return drawn, "unchanged" if stamp == one.manifest.stamp else "written again"


def _same(detector: Detector, record: pa.RecordBatch, one: Found) -> bool:
    """Whether the record is to the version what it was: equally improbable, or refused for the same reason."""
    now = detector.score(record)
    if one.quarantined or now.refused[0] is not None:
        return bool(now.refused[0] == one.row.get("reason"))
    before, here = one.row["log_likelihood"], float(now.log_likelihood[0])
    return before == here or abs(here - before) <= _SAME * max(1.0, abs(before))
