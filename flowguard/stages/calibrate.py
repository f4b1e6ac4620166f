"""Calibrate: thresholds and baselines from held-out records, checked on records that were used for nothing, sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from flowguard import detector as detectors
from flowguard.calibration import RateCheck
from flowguard.stages.deal import stream, units_of
from flowguard.stages.progress import work
from flowguard.stages.workspace import Workspace


@dataclass(frozen=True)
class Calibrated:
    """A sealed bundle, with what was asked and what was observed on the hold-out (None when it holds no record)."""

    folder: Path
    digest: str
    score: str
    level: float
    threshold: float
    size: int
    smallest_level: float
    holdout: RateCheck | None
    holdout_log_likelihood: float | None


def calibrate(pipeline: str | Path, draft: Path) -> Calibrated:
    """Give the draft in `draft` (from `fit`) its calibration and seal the whole as a bundle beside it."""
    workspace = Workspace.open(pipeline)
    detector = detectors.load(draft / "draft")
    held = {}
    for part in ("calibration", "holdout"):
        with work(f"evaluating the {part} records") as bar:
            chunks = ((batch, units_of(batch)) for batch in _counted(stream(draft, part)(), bar.advance))
            held[part] = detectors.hold(detector, chunks)
    level, score = workspace.pipeline.policy.false_alarm_rate, workspace.pipeline.score
    detector = detectors.calibrate(detector, held["calibration"], false_alarm_rate=level, score=score)
    check = likelihood = None
    if len(held["holdout"]):
        check = detectors.check_hold_out(detector, held["holdout"])
        parts = held["holdout"].parts
        likelihood = float((parts.log_mass + parts.log_density).mean())
    facts = {"holdout": asdict(check) if check else None, "holdout_log_likelihood": likelihood}
    detector = replace(detector, provenance={**detector.provenance, **facts})
    digest = detectors.save(detector, draft / "bundle")
    calibration = detector.calibration
    assert calibration is not None
    return Calibrated(
        folder=draft / "bundle",
        digest=digest,
        score=calibration.method,
        level=level,
        threshold=calibration.threshold,
        size=calibration.size,
        smallest_level=calibration.smallest_level,
        holdout=check,
        holdout_log_likelihood=likelihood,
    )


def _counted(batches: Iterator[pa.RecordBatch], advance: Callable[[float], None]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        advance(batch.num_rows)
