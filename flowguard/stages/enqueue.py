"""Enqueue: what scored batches flagged, and what was drawn from the rest, goes to the desk's queue."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from flowguard.detector import Detector
from flowguard.errors import InputError
from flowguard.explain import Reason
from flowguard.explain.words import REDACTED, redacted_reason
from flowguard.logs import note, scoped
from flowguard.reports.cells import cell
from flowguard.reports.histogram import score_histogram
from flowguard.reports.plots import score_plot
from flowguard.stages.audit import Drawn, drawn_of
from flowguard.stages.cases import Cases, cases_of
from flowguard.stages.flagged import Flagged
from flowguard.stages.manifest import Manifest, latest
from flowguard.stages.notices import batch_notices, calibrated_on
from flowguard.stages.progress import work
from flowguard.stages.score import detector_of
from flowguard.stages.suppressed import suppressed
from flowguard.stages.workspace import Workspace
from flowguard.store import QueuedBatch, QueuedCase, QueuedRecord

#: Characters of a cell that the queue keeps; the table has the whole.
LONGEST = 10_000
#: The plot of a batch's scores is drawn for a desk and for a phone: name, width and height in CSS pixels.
PLOTS = (("wide", 980, 240), ("narrow", 360, 220))


@dataclass(frozen=True)
class Enqueued:
    """The batches that were put into the queue, those that stood there already left out, with their records."""

    pipeline: str
    batches: tuple[str, ...]
    records: int


@scoped
def enqueue(pipeline: str | Path, *, batches: Collection[str] | None = None, again: bool = False) -> Enqueued:
    """Put every scored batch, or some, into the queue of the desk, unless it is there as it was scored last.

    With `again` it is put there anew. One that retention took out of the queue comes back only so, and one whose scores
    it took only after it was scored again. Verdicts stay with their records. Raises `InputError` when one of `batches`
    has not been scored.
    """
    workspace = Workspace.open(pipeline)
    name, queue = workspace.pipeline.name, workspace.store.queue
    scored = latest(workspace.folder)
    for batch in batches or ():
        if batch not in scored:
            raise InputError(
                f"{name}: batch {batch!r} has not been scored yet. Run `flowguard score {pipeline} --batch {batch}` "
                "first."
            )
    # What retention took away, of the files or of the queue alone, does not come back by itself.
    taken = {name for name, one in scored.items() if one.was_pruned("scores") or (one.pruned and not again)}
    # Scored again, its records may have other p-values, or a rule that was made since.
    there = {one.batch: (one.version, one.bundle, one.fingerprint, one.scored_at) for one in queue.batches(name)}
    due = [
        manifest
        for manifest in sorted(scored.values(), key=lambda one: one.batch)
        if (batches is None or manifest.batch in batches)
        and manifest.batch not in taken
        and (again or there.get(manifest.batch) != _stood(manifest))
    ]
    records = 0
    if due:
        with work("queueing for review", total=len(due)) as bar:
            for manifest in due:
                note(batch=manifest.batch, version=manifest.version)
                records += _put(workspace, manifest)
                bar.advance(1, manifest.batch)
    return Enqueued(name, tuple(manifest.batch for manifest in due), records)


def _stood(manifest: Manifest) -> tuple[int, str, str, datetime]:
    """What a batch in the queue is compared by with the same one as it was scored last."""
    return manifest.version, manifest.bundle, manifest.fingerprint, datetime.fromisoformat(manifest.started)


def _put(workspace: Workspace, manifest: Manifest) -> int:
    registry = workspace.registry
    detector = detector_of(workspace, registry.resolve(workspace.pipeline.name, manifest.version))
    source = workspace.pipeline.source
    key = tuple(name for name in source.key if name not in source.redact)
    hidden = {*source.redact, *detector.redact}
    since = not {*source.redact} <= {*detector.redact}
    drawn = drawn_of(workspace, manifest, key)
    also = {manifest.batch: [one.record_id for one in drawn]}
    with workspace.source() as opened:
        found = cases_of(workspace, opened, {manifest.batch: manifest}, {manifest.version: detector}, also=also)
    in_case = {member.record_id: case.id for case in found.cases for member in case.records}
    context = _levels(detector, hidden)
    kept = suppressed(
        workspace,
        manifest,
        found.records.values(),
        workspace.store.rules.all(workspace.pipeline.name),
        read=lambda record_id: found.surroundings.whole(manifest.batch, record_id),
    )
    records = [
        *(
            replace(
                _flagged(one, found, in_case.get(one.record_id), context, hidden, since), rule=kept.get(one.record_id)
            )
            for one in found.records.values()
        ),
        *(_drawn(one, found, context, hidden) for one in drawn),
    ]
    cases = [
        QueuedCase(
            case.id,
            {"what": case.what, "setting": case.setting, "weight": case.weight, "columns": list(case.columns)},
        )
        for case in found.cases
    ]
    workspace.store.queue.put(_batch(workspace, manifest, detector), records, cases)
    return len(records)


def _batch(workspace: Workspace, manifest: Manifest, detector: Detector) -> QueuedBatch:
    """The batch with what its page shows besides its records."""
    calibration = detector.calibration
    assert calibration is not None, "only calibrated versions are registered"
    threshold = calibration.threshold if manifest.threshold is None else manifest.threshold
    scores = np.zeros(0)
    if "scores" in manifest.files:
        path = workspace.folder / manifest.files["scores"]
        scores = pq.read_table(path, columns=["score"], partitioning=None)["score"].to_numpy()
    histogram = score_histogram(scores, calibration.scores, threshold=threshold)
    shown = None
    if histogram is not None:
        shown = {name: plain(value) for name, value in vars(histogram).items()}
    return QueuedBatch(
        pipeline=manifest.pipeline,
        batch=manifest.batch,
        version=manifest.version,
        bundle=manifest.bundle,
        fingerprint=manifest.fingerprint,
        read=manifest.read,
        scored=manifest.scored,
        flagged=manifest.flagged,
        quarantined=manifest.quarantined_total,
        document={
            "policy": manifest.rule.words,
            "asked": plain(manifest.asked_share),
            "threshold": plain(threshold),
            "histogram": shown,
            # Drawn here, once: Matplotlib takes longer than a page may.
            "plots": None
            if histogram is None
            else {name: score_plot(histogram, threshold, width=w, height=h) for name, w, h in PLOTS},
            "quarantine": manifest.quarantined,
            "notices": list(batch_notices(manifest, detector)),
            "calibrated": calibrated_on(calibration, manifest),
            "cells": len(calibration.sizes),
        },
        scored_at=datetime.fromisoformat(manifest.started),
    )


def _flagged(
    one: Flagged, found: Cases, case_id: str | None, context: Sequence[str], hidden: Collection[str], since: bool
) -> QueuedRecord:
    values = found.surroundings.whole(one.batch, one.record_id)
    reasons = [_told(reason, hidden, since) for reason in one.reasons]
    columns = dict.fromkeys(name for reason in one.reasons for name in (reason.column, reason.partner) if name)
    return QueuedRecord(
        batch=one.batch,
        record_id=one.record_id,
        version=one.version,
        flagged=True,
        audited=False,
        score=one.score,
        p_value=one.p_value,
        search=_in_words(one.key),
        case_id=case_id,
        marks=(*(("", name) for name in columns), *_context(values, context)),
        document={
            "key": plain(one.key),
            "log_likelihood": plain(one.log_likelihood),
            "extrapolated": one.extrapolated,
            "reasons": [plain(asdict(reason)) for reason in reasons],
            "values": _shown(values, hidden),
        },
    )


def _drawn(one: Drawn, found: Cases, context: Sequence[str], hidden: Collection[str]) -> QueuedRecord:
    values = found.surroundings.whole(one.batch, one.record_id)
    return QueuedRecord(
        batch=one.batch,
        record_id=one.record_id,
        version=one.version,
        flagged=False,
        audited=True,
        score=one.score,
        p_value=one.p_value,
        search=_in_words(one.key),
        marks=tuple(_context(values, context)),
        document={"key": plain(one.key), "reasons": [], "values": _shown(values, hidden)},
    )


def _in_words(key: Mapping[str, Any]) -> str:
    return " ".join(cell(value) for value in key.values())


def _levels(detector: Detector, hidden: Collection[str]) -> list[str]:
    """The columns whose values records may be filtered by: categories, of the context or not, that are not hidden."""
    encoder = detector.encoder
    found = [column.column for column in encoder.categories]
    found += [one.column for one in encoder.features if one.kind == "category"]
    return [name for name in dict.fromkeys(found) if name not in hidden]


def _context(values: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, cell(values[name])) for name in names if name in values]


def _shown(values: Mapping[str, Any], hidden: Collection[str]) -> dict[str, Any]:
    return {str(name): plain(value) for name, value in values.items() if name not in hidden}


def _told(reason: Reason, hidden: Collection[str], since: bool) -> Reason:
    """The reason as it may be shown: of a redacted column nothing but that it is unusual.

    `since`: a column was redacted after the version was trained, which may have told its value as what others are
    expected for.
    """
    if not {reason.column, reason.partner} & set(hidden):
        said, given, _ = reason.words.partition(" expected for ")
        return replace(reason, words=f"{said} expected") if since and given else reason
    return Reason(
        record_id=reason.record_id,
        rank=reason.rank,
        column=reason.column,
        share=reason.share,
        term=reason.term,
        observed=None,
        observed_text=REDACTED,
        low=None,
        high=None,
        words=redacted_reason(reason.column),
        contrast=reason.contrast,
        partner=reason.partner,
    )


def plain(value: Any) -> Any:
    """A cell as JSON holds it: numbers, booleans and text stay, what is missing is None, all else becomes text.

    >>> plain({"at": date(2026, 3, 1), "x": float("nan"), "n": np.int64(3)})
    {'at': '2026-03-01', 'x': None, 'n': 3}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)[:LONGEST]
