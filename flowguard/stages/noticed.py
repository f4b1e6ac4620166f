"""Noticed: what there is to tell of scored batches and of late ones, as the store keeps it until it is sent.

Of records only what the desk's queue shows is taken. Of a version that does not know of every redacted column, because
one was named after its training, no sentence is taken either: it may tell a value of that column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowguard.calibration.drift import DriftRecord
from flowguard.stages.freshness import Freshness
from flowguard.stages.gate.check import Gated
from flowguard.stages.manifest import Manifest
from flowguard.stages.score import detector_of
from flowguard.stages.workspace import Workspace
from flowguard.store import Notice, QueuedCase, Wanted

CASES, REASONS = 3, 2


def flagged(workspace: Workspace, manifests: Sequence[Manifest], occasion: str) -> list[Notice]:
    """The batches with enough flagged records that nobody has decided on and no rule keeps away."""
    spec, queue = workspace.pipeline, workspace.store.queue
    noticed = []
    for manifest in manifests:
        tally = queue.tallies(spec.name, manifest.batch).get(manifest.batch)
        if tally is None or tally.open < spec.notify.flagged:
            continue
        cases = [case for case in queue.cases(spec.name, manifest.batch) if case.open]
        plainly = _redacted_since(workspace, manifest)
        document = {
            "batch": manifest.batch,
            "version": manifest.version,
            "open": tally.open,
            "scored": manifest.scored,
            "policy": manifest.rule.words,
            "cases": [_case(workspace, manifest.batch, case, plainly) for case in cases[:CASES]],
            "more": max(0, len(cases) - CASES),
        }
        noticed.append(Notice(spec.name, "flagged", _subject(manifest), document, occasion))
    return noticed


def drifts(workspace: Workspace, manifests: Sequence[Manifest], occasion: str) -> list[Notice]:
    """The batches that raised an alarm of drift, unless the pipeline file says that nothing follows."""
    if workspace.pipeline.drift.then == "nothing":
        return []
    noticed = []
    name, observed = workspace.pipeline.name, workspace.store.drift
    for manifest in manifests:
        found = observed.of(name, batch=manifest.batch, version=manifest.version, alarmed=True)
        if not found:
            continue
        record = DriftRecord.from_json(found[0].document["record"])
        said = record.drift if not _redacted_since(workspace, manifest) else None
        document = {
            "batch": manifest.batch,
            "version": manifest.version,
            "sentence": "An alarm was raised." if said is None else said.sentence,
            "columns": list(record.drift.columns) if record.drift else [],
        }
        noticed.append(Notice(manifest.pipeline, "drift", _subject(manifest), document, occasion))
    return noticed


def empties(workspace: Workspace, manifests: Sequence[Manifest], occasion: str) -> list[Notice]:
    """The batches without a record."""
    return [
        Notice(workspace.pipeline.name, "empty", _subject(one), {"batch": one.batch}, occasion)
        for one in manifests
        if not one.read
    ]


def lateness(found: Freshness, occasion: str) -> list[Notice]:
    """The batch that is due and not there; of files and partitions, each time at which one was due."""
    if not found.late:
        return []
    subject = found.expected or (found.due.isoformat() if found.due else "")
    document = {"batch": found.expected or "", "sentence": found.sentence}
    return [Notice(found.pipeline, "late", subject, document, occasion)]


def gates(pipeline: str, gated: Gated, occasion: str) -> list[Notice]:
    """A version that failed its gate, or that the gate made the champion."""
    if gated.outcome != "failed" and not gated.promoted:
        return []
    version = gated.version.version
    document = {
        "version": version,
        "promoted": gated.promoted,
        "sentence": f"{gated.sentence} {gated.note}".rstrip(),
    }
    said = "promoted" if gated.promoted else "failed"
    return [Notice(pipeline, "gate", f"version {version} {said}", document, occasion)]


def _subject(manifest: Manifest) -> str:
    """What makes it news: the batch, its content and the version; scored again as it was, it is none."""
    return f"{manifest.batch} {manifest.fingerprint[:16]} version {manifest.version}"


def _redacted_since(workspace: Workspace, manifest: Manifest) -> bool:
    """Whether a column was redacted after the version was trained that scored the batch."""
    redact = set(workspace.pipeline.source.redact)
    if not redact:
        return False
    version = workspace.registry.resolve(workspace.pipeline.name, manifest.version)
    return not redact <= set(detector_of(workspace, version).redact)


def _case(workspace: Workspace, batch: str, case: QueuedCase, plainly: bool) -> dict[str, Any]:
    """A case with its strangest record that is open; `plainly`: of its reasons the columns alone."""
    wanted = Wanted(batch=batch, case_id=case.case_id, state="open")
    strangest = workspace.store.queue.records(workspace.pipeline.name, wanted, most=1)
    setting = case.document["setting"]
    said = f"{case.document['what']}: {case.open:,} record{'' if case.open == 1 else 's'}"
    return {
        "id": case.case_id,
        "title": f"{said}, {setting}" if setting else said,
        "record": next((one.search or one.record_id for one in strangest), ""),
        "reasons": [
            f"{reason['column']} is unusual" if plainly else reason["words"]
            for one in strangest
            for reason in one.document["reasons"][:REASONS]
        ],
    }
