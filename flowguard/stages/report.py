"""Report: one self-contained HTML page for every scored batch, one for the whole run, and one of drift."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from flowguard.detector import Detector
from flowguard.errors import InputError
from flowguard.explain.cases import Case, Member
from flowguard.reports import (
    BatchReport,
    BatchSummary,
    CaseLine,
    FlaggedRecord,
    RateLine,
    RunReport,
    drift_in_a_line,
    href,
    render_batch,
    render_drift,
    render_run,
    run_picture,
    score_histogram,
)
from flowguard.reports.render import MOST_RECORDS
from flowguard.stages.cases import Cases, cases_of
from flowguard.stages.drift import drift_report
from flowguard.stages.flagged import Flagged, of_batch, strangeness, with_rules
from flowguard.stages.manifest import Manifest, latest
from flowguard.stages.notices import batch_notices, calibrated_on, run_notices
from flowguard.stages.observe import newest
from flowguard.stages.pages import DRIFT, PICTURE, RUN, batch_page, pages_of
from flowguard.stages.progress import work
from flowguard.stages.pruned import at_hand, left_out_words, refuse_pruned
from flowguard.stages.rates import asked_share, holdout_line, rate_line
from flowguard.stages.score import detector_of
from flowguard.stages.suppressed import suppressed_words
from flowguard.stages.workspace import Workspace
from flowguard.tables import atomic_path, atomic_text

STRANGEST = 40
#: Records that a case links to.
LINKED = 24


@dataclass(frozen=True)
class Reported:
    """The pages that were written, and what the run's page says of asked and observed rates.

    `drift` is the page of the newest version that has observed batches, None where no version has; `drifted` says in a
    sentence what is on it.
    """

    pages: tuple[Path, ...]
    run: Path
    picture: Path
    overall: RateLine
    groups: tuple[RateLine, ...]
    holdout: RateLine | None
    notices: tuple[str, ...]
    drift: Path | None = None
    drifted: str = ""


def report(pipeline: str | Path, *, batch: str | None = None) -> Reported:
    """Write the pages of every scored batch (or of one) and of the run; raises `InputError` for nothing scored."""
    workspace = Workspace.open(pipeline)
    scored = latest(workspace.folder)
    if not scored or (batch is not None and batch not in scored):
        what = f"batch {batch!r}" if batch is not None else "no batch"
        raise InputError(
            f"{workspace.pipeline.name}: {what} has {'not ' if batch is not None else ''}been scored yet. "
            f"Run `flowguard score {pipeline}` first."
        )
    refuse_pruned(scored, batch, pipeline)
    left_out, scored = left_out_words(scored), at_hand(scored)
    folder = pages_of(workspace)
    key = [name for name in workspace.pipeline.source.key if name not in workspace.pipeline.source.redact]
    names = sorted(scored)
    linked = {name for name in names if batch in (None, name) or (folder / batch_page(name)).exists()}
    detectors = {
        version: detector_of(workspace, workspace.registry.resolve(workspace.pipeline.name, version))
        for version in {manifest.version for manifest in scored.values()}
    }
    pages: list[Path] = []
    strangest: list[Flagged] = []
    with workspace.source() as source:
        cases = cases_of(workspace, source, scored, detectors, by_rules=True)
    rules = workspace.store.rules.all(workspace.pipeline.name)
    with work("writing pages", total=len(names)) as bar:
        for place, name in enumerate(names):
            manifest = scored[name]
            kept: Counter[int] = Counter()
            every = with_rules(workspace, manifest, of_batch(workspace, manifest, key), rules, kept)
            records = sorted((record for record in every if record.rule is None), key=strangeness)
            strangest = sorted([*strangest, *records], key=strangeness)[:STRANGEST]
            if batch is None or batch == name:
                page = folder / batch_page(name)
                near = (names[place - 1] if place else None, names[place + 1] if place + 1 < len(names) else None)
                neighbours = (near[0] if near[0] in linked else None, near[1] if near[1] in linked else None)
                made = _batch_report(workspace, manifest, detectors[manifest.version], records, cases, neighbours)
                told = suppressed_words(kept)
                atomic_text(page, render_batch(replace(made, notices=[*made.notices, told] if told else made.notices)))
                pages.append(page)
            bar.advance(1, name)
    run = _run_report(workspace, [scored[name] for name in names], detectors, strangest, cases)
    run = replace(run, batches=[one if one.batch in linked else replace(one, href="") for one in run.batches])
    run = replace(run, notices=[*run.notices, left_out] if left_out else run.notices)
    run_page, picture, drift_page = folder / RUN, folder / PICTURE, None
    if (observed := newest(workspace)) is not None:
        version, seen = observed
        drift_page = folder / DRIFT
        found = workspace.registry.resolve(workspace.pipeline.name, version)
        shown = drift_report(workspace, version, detector_of(workspace, found), seen)
        run = replace(run, drift_href=DRIFT, drift=drift_in_a_line(shown))
        # Each of both leads to the other.
        atomic_text(drift_page, render_drift(replace(shown, run_href=RUN)))
    atomic_text(run_page, render_run(run))
    with atomic_path(picture) as temporary:
        temporary.write_bytes(run_picture(run))
    return Reported(
        pages=tuple(pages),
        run=run_page,
        picture=picture,
        overall=run.overall,
        groups=tuple(run.groups),
        holdout=run.holdout,
        notices=tuple(run.notices),
        drift=drift_page,
        drifted=run.drift,
    )


def _batch_report(
    workspace: Workspace,
    manifest: Manifest,
    detector: Detector,
    records: Sequence[Flagged],
    cases: Cases,
    neighbours: tuple[str | None, str | None],
) -> BatchReport:
    calibration = detector.calibration
    assert calibration is not None
    threshold = calibration.threshold if manifest.threshold is None else manifest.threshold
    scores = np.zeros(0)
    if "scores" in manifest.files:
        path = workspace.folder / manifest.files["scores"]
        scores = pq.read_table(path, columns=["score"], partitioning=None)["score"].to_numpy()
    before, after = ((name, href(batch_page(name))) if name else None for name in neighbours)
    return BatchReport(
        pipeline=manifest.pipeline,
        batch=manifest.batch,
        version=str(manifest.version),
        digest=manifest.bundle,
        scored_at=manifest.started[:16].replace("T", " ") + " UTC",
        read=manifest.read,
        scored=manifest.scored,
        quarantined=manifest.quarantined_total,
        flagged=manifest.flagged,
        policy=manifest.rule.words,
        asked_rate=manifest.asked_share,
        threshold=threshold,
        histogram=score_histogram(scores, calibration.scores, threshold=threshold),
        quarantine=manifest.quarantined,
        records=[
            _shown(record, cases.surroundings.whole(record.batch, record.record_id), here=True) for record in records
        ],
        cases=_batch_cases(cases, manifest.batch, {record.record_id for record in records[:MOST_RECORDS]}),
        notices=batch_notices(manifest, detector),
        redact=detector.redact,
        calibrated=calibrated_on(calibration, manifest),
        cells=len(calibration.sizes),
        run_href=RUN,
        previous=before,
        following=after,
    )


def _run_report(
    workspace: Workspace,
    manifests: Sequence[Manifest],
    detectors: Mapping[int, Detector],
    strangest: Sequence[Flagged],
    cases: Cases,
) -> RunReport:
    newest = detectors[max(detectors)]
    calibration = newest.calibration
    assert calibration is not None
    holdout = newest.provenance.get("holdout")
    overall = rate_line("All scored batches", manifests, calibration)
    months = defaultdict(list)
    for manifest in manifests:
        months[manifest.batch[:7]].append(manifest)
    by_day = workspace.pipeline.source.batch == "day"
    groups = [rate_line(month, part, calibration) for month, part in sorted(months.items())] if by_day else []
    if len(calibration.sizes) > 1:
        groups += [rate_line(cell, manifests, calibration, cell=cell) for cell in calibration.cells.names]
    return RunReport(
        pipeline=workspace.pipeline.name,
        versions=[str(version) for version in sorted(detectors)],
        period=f"{manifests[0].batch} to {manifests[-1].batch}",
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        policy=calibration.policy.words,
        asked_rate=asked_share(calibration),
        threshold=calibration.threshold,
        batches=[_summary(manifest) for manifest in manifests],
        overall=overall,
        unit="day" if by_day else "batch",
        holdout=None if holdout is None else holdout_line(holdout, calibration, workspace.pipeline.unit_noun),
        groups=groups,
        strangest=[_shown(record, {}) for record in strangest],
        cases=[_case(cases, case, case.records) for case in cases.cases],
        notices=[
            *run_notices(workspace.pipeline.split, detectors, [overall, *groups]),
            *filter(None, [suppressed_words(cases.suppressed)]),
        ],
        redact=newest.redact,
        digest=newest.digest,
    )


def _summary(manifest: Manifest) -> BatchSummary:
    quantiles = manifest.quantiles
    return BatchSummary(
        batch=manifest.batch,
        read=manifest.read,
        scored=manifest.scored,
        quarantined=manifest.quarantined_total,
        flagged=manifest.flagged,
        median=quantiles.get("q50", math.nan),
        q05=quantiles.get("q05", math.nan),
        q95=quantiles.get("q95", math.nan),
        href=href(batch_page(manifest.batch)),
    )


def _batch_cases(cases: Cases, batch: str, shown: Collection[str]) -> list[CaseLine]:
    """The cases that have records in a batch, each with those of its records there that the page shows."""
    found = []
    for case in cases.cases:
        mine = [member for member in case.records if member.batch == batch]
        if mine:
            line = _case(cases, case, [member for member in mine if member.record_id in shown], here=True)
            found.append(replace(line, here=len(mine), href=f"{RUN}#case-{case.id}"))
    return found


def _case(cases: Cases, case: Case, members: Sequence[Member], *, here: bool = False) -> CaseLine:
    """A case as a page shows it, with links to the strangest of `members`; `here`: on the page that shows them."""
    return CaseLine(
        id=case.id,
        what=case.what,
        setting=case.setting,
        records=len(case.records),
        weight=case.weight,
        first=case.first,
        last=case.last,
        batches=case.batches,
        links=[
            (cases.name(member), f"{'' if here else href(batch_page(member.batch))}#{member.record_id}")
            for member in members[:LINKED]
        ],
    )


def _shown(record: Flagged, values: Mapping[str, Any], *, here: bool = False) -> FlaggedRecord:
    """A record as a page shows it; `here`: on its own batch's page, which needs no link to itself."""
    return FlaggedRecord(
        record_id=record.record_id,
        key=record.key,
        log_likelihood=record.log_likelihood,
        score=record.score,
        p_value=record.p_value,
        extrapolated=record.extrapolated,
        reasons=record.reasons,
        values=values,
        batch="" if here else record.batch,
        href="" if here else f"{href(batch_page(record.batch))}#{record.record_id}",
    )
