"""Calibrate: policy, cells and baselines from held-out records, checked on records used for nothing, sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from flowguard import detector as detectors
from flowguard.calibration import Cells, RateCheck
from flowguard.detector import Detector, Held
from flowguard.logs import scoped
from flowguard.spec import Pipeline
from flowguard.stages.deal import TIME, stream, time_of, units_of
from flowguard.stages.meaning import aging_of, policy_of
from flowguard.stages.progress import work
from flowguard.stages.workspace import Workspace


@dataclass(frozen=True)
class Calibrated:
    """A sealed bundle, with what was asked and what was observed on the hold-out (None when it holds no record).

    `level` is what was checked: of a false alarm rate its own, else 5 %; `cells` is the check within each cell, where
    there are several. `threshold` is NaN under policies that flag by the whole batch. `tails` holds the fit of each
    cell's tail where the policy extrapolates, `tail_words` the same for people. `dates` are the first and last
    day of the calibration records, where they have days.
    """

    folder: Path
    digest: str
    score: str
    policy: str
    level: float
    threshold: float
    size: int
    sizes: Mapping[str, int]
    smallest_level: float
    holdout: RateCheck | None
    cells: Mapping[str, RateCheck]
    holdout_log_likelihood: float | None
    tails: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tail_words: Mapping[str, str] = field(default_factory=dict)
    dates: tuple[str, str] | None = None


@scoped
def calibrate(pipeline: str | Path, draft: Path) -> Calibrated:
    """Give the draft in `draft` (from `fit`) its calibration and seal the whole as a bundle beside it."""
    workspace = Workspace.open(pipeline)
    spec, detector = workspace.pipeline, detectors.load(draft / "draft")
    held = {}
    for part in ("calibration", "holdout"):
        with work(f"evaluating the {part} records") as bar:
            chunks = ((batch, units_of(batch)) for batch in _counted(stream(draft, part)(), bar.advance))
            held[part] = detectors.hold(
                detector, chunks, by=spec.groups, watched=True, time=TIME if time_of(spec) else None
            )
    counts = detectors.group_counts(spec.groups, stream(draft, "train")(), detector.encoder)
    cells = cells_of(spec, counts, share=len(held["calibration"]) / max(1, sum(counts.values())))
    return seal(spec, detector, held["calibration"], held["holdout"], cells=cells, folder=draft / "bundle")


def cells_of(spec: Pipeline, counts: Mapping[tuple[str, ...], int], *, share: float) -> Cells:
    """The calibration cells of `policy.per`, of training counts alone.

    A cell is large enough if the calibration records to be expected of it, `share` for each training record, are three
    times what the policy needs: half may go to the ranks of the score, and days differ.
    """
    if not spec.groups:
        return Cells()
    needed = 3 * policy_of(spec).size_wanted
    return Cells.fit(list(spec.groups), counts, least=needed / share if share > 0 else float("inf"))


def seal(
    spec: Pipeline, detector: Detector, calibration: Held, holdout: Held, *, cells: Cells, folder: Path
) -> Calibrated:
    """Calibrate `detector`, check it on the hold-out and seal it in `folder`."""
    policy = policy_of(spec)
    detector = detectors.calibrate(
        detector,
        calibration,
        policy=policy,
        score=spec.score,
        cells=cells,
        by_day=by_day(spec),
        ties=spec.calibration.ties,
        aging=aging_of(spec),
    )
    check, likelihood = None, None
    by_cell: dict[str, RateCheck] = {}
    if len(holdout):
        check, by_cell = detectors.check_hold_out(detector, holdout)
        likelihood = float((holdout.parts.log_mass + holdout.parts.log_density).mean())
    facts = {
        "holdout": asdict(check) if check else None,
        "holdout_cells": {name: asdict(one) for name, one in by_cell.items()},
        "holdout_log_likelihood": likelihood,
    }
    detector = replace(detector, provenance={**detector.provenance, **facts})
    digest = detectors.save(detector, folder)
    made = detector.calibration
    assert made is not None
    return Calibrated(
        folder=folder,
        digest=digest,
        score=made.method,
        policy=policy.words,
        level=made.rate_checked,
        threshold=made.threshold,
        size=made.size,
        sizes=dict(zip(made.cells.names, made.sizes, strict=True)),
        smallest_level=made.smallest_level,
        holdout=check,
        cells=by_cell,
        holdout_log_likelihood=likelihood,
        tails={name: tail.to_dict() for name, tail in zip(made.cells.names, made.tails, strict=False)},
        tail_words={name: tail.words for name, tail in zip(made.cells.names, made.tails, strict=False)},
        dates=made.dates,
    )


def by_day(spec: Pipeline) -> bool:
    """Whether batches are days and so are the units of the split."""
    return spec.source.batch == "day" and spec.unit_noun == "day"


def _counted(batches: Iterator[pa.RecordBatch], advance: Callable[[float], None]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        advance(batch.num_rows)
