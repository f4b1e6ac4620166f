"""Version: what is known of a model version, as plain values and as one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowguard.detector import Detector
from flowguard.registry import Version
from flowguard.reports import (
    AliasLine,
    BatchSummary,
    CalibrationCurve,
    CellLine,
    EstimateLine,
    GateLine,
    VersionReport,
    href,
    render_version,
)
from flowguard.review import Quality
from flowguard.stages.gate.check import Recorded, recorded
from flowguard.stages.models import qualities
from flowguard.stages.pages import RUN, batch_page, drift_page, pages_of, version_page
from flowguard.stages.rates import asked_share, holdout_line
from flowguard.stages.score import detector_of
from flowguard.stages.workspace import Workspace
from flowguard.store import Change
from flowguard.tables import atomic_text

_PARTS = ("train", "validation", "calibration", "holdout")


def write_version(pipeline: str | Path, version: str | int) -> Path:
    """Write the page of a version, and return where it is. Raises `RegistryError` for one that is not registered."""
    workspace = Workspace.open(pipeline)
    name, folder = workspace.pipeline.name, pages_of(workspace)
    found = workspace.registry.resolve(name, version)
    pages = {one.batch: batch_page(one.batch) for one in workspace.store.batches.of(name)}
    observed = workspace.store.drift.observed(name)
    drift = drift_page(found.version, max(observed, default=None))
    report = version_report(
        workspace,
        detector_of(workspace, found),
        found,
        batches=summaries(
            workspace, found.version, {b: href(page) for b, page in pages.items() if (folder / page).exists()}
        ),
        quality=qualities(workspace.store, name).get(found.version),
        changes=workspace.store.aliases.of(name),
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        run_href=RUN if (folder / RUN).exists() else "",
        drift_href=href(drift) if found.version in observed and (folder / drift).exists() else "",
    )
    page = folder / version_page(found.version)
    atomic_text(page, render_version(report))
    return page


def version_report(
    workspace: Workspace,
    detector: Detector,
    version: Version | None = None,
    *,
    batches: Sequence[BatchSummary] = (),
    quality: Quality | None = None,
    changes: Sequence[Change] = (),
    **more: Any,
) -> VersionReport:
    """What the page of a version is made from; without `version`, as it is before it has a number.

    `changes` are all of the model's aliases: those that this version got or lost are shown. `more` are links and times
    of a `VersionReport`.
    """
    calibration, facts = detector.calibration, detector.provenance
    assert calibration is not None, "only calibrated versions are registered"
    unit = workspace.pipeline.unit_noun
    gate = None if version is None else recorded(version.tags)
    held, model = facts.get("holdout"), dict(facts.get("model", {}))
    features = list(detector.encoder.feature_names)
    return VersionReport(
        pipeline=workspace.pipeline.name,
        version="" if version is None else str(version.version),
        digest=detector.digest,
        family=str(model.pop("family", detector.density.config["family"])),
        score=detector.score_name,
        policy=calibration.policy.words,
        asked_rate=asked_share(calibration),
        curve=CalibrationCurve.of(calibration),
        cells=_cells(detector, unit),
        rows=calibration.rows,
        units=calibration.units,
        unit=unit,
        measure=detector.measure_id,
        created="" if version is None else f"{version.created:%Y-%m-%d %H:%M} UTC",
        aliases=() if version is None else version.aliases,
        features=[f"{name} ({detector.units[name]})" if name in detector.units else name for name in features],
        given=[name for name in detector.columns if name not in features],
        settings=[(name, value) for name, value in model.items() if value is not None],
        history=detector.history,
        kept=facts.get("best_epochs", {}),
        holdout_log_likelihood=_number(facts.get("holdout_log_likelihood")),
        holdout=holdout_line(held, calibration, unit) if held else None,
        dates=calibration.dates,
        records={part: facts["records"][part] for part in _PARTS if part in facts.get("records", {})},
        split=_split(facts.get("split", {})),
        provenance=_provenance(detector, version),
        left_out=_left_out(facts),
        recalibrated=_recalibrated(facts),
        batches=batches,
        estimates=estimates(quality),
        changes=alias_lines(changes, None if version is None else version.version),
        gate="" if gate is None else gate.outcome,
        gate_note="" if gate is None else _gate_note(gate),
        gate_lines=[] if gate is None else [GateLine(one.name, one.answer, one.sentence) for one in gate.checks],
        **more,
    )


def summaries(workspace: Workspace, version: int, hrefs: Mapping[str, str]) -> list[BatchSummary]:
    """The batches that a version scored, by name; `hrefs` has the links of those that have a page."""
    return [
        BatchSummary(
            batch=one.batch,
            read=one.read,
            scored=one.scored,
            quarantined=one.quarantined,
            flagged=one.flagged,
            median=math.nan,
            q05=math.nan,
            q95=math.nan,
            href=hrefs.get(one.batch, ""),
        )
        for one in workspace.store.batches.of(workspace.pipeline.name)
        if one.version == version
    ]


def estimates(quality: Quality | None) -> list[EstimateLine]:
    """What verdicts say of a version, as its page shows it."""
    if quality is None:
        return []
    shares = (
        ("precision", "share of its flagged records that are anomalies", quality.precision),
        ("missed", "share of its unflagged records that are anomalies", quality.missed),
    )
    return [EstimateLine(name, str(share), of, share.decided) for name, of, share in shares if share.decided]


def alias_lines(changes: Sequence[Change], version: int | None = None) -> list[AliasLine]:
    """The changes of aliases, as pages show them; of one version those that gave it an alias or took one."""
    return [
        AliasLine(
            change.alias,
            change.from_version,
            change.to_version,
            change.who,
            change.why,
            f"{change.changed_at:%Y-%m-%d %H:%M}",
        )
        for change in changes
        if version in (None, change.from_version, change.to_version)
    ]


def _cells(detector: Detector, unit: str) -> list[CellLine]:
    calibration = detector.calibration
    assert calibration is not None
    checks = detector.provenance.get("holdout_cells") or {}
    # Groups are values of columns, which may be ones that must not be told.
    hidden = bool(set(detector.redact) & set(calibration.cells.by))
    tails = calibration.tails or (None,) * len(calibration.sizes)
    # Under a policy that flags by the whole batch, no score by itself is one above which records are flagged.
    flags = math.isfinite(calibration.threshold)
    return [
        CellLine(
            name=f"group {place}" if hidden else name,
            size=size,
            threshold=calibration.thresholds[name] if flags else math.nan,
            holdout=holdout_line(checks[name], calibration, unit) if name in checks else None,
            tail="" if tail is None else tail.words,
        )
        for place, (name, size, tail) in enumerate(
            zip(calibration.cells.names, calibration.sizes, tails, strict=True), start=1
        )
    ]


def _split(split: Mapping[str, Any]) -> list[tuple[str, object]]:
    said = {
        "since": split.get("since"),
        "until": split.get("until"),
        "split by": ", ".join(split.get("unit") or ()),
        "shares": ", ".join(f"{split[part]:g} {part}" for part in _PARTS if part in split),
        "salt": split.get("salt"),
    }
    return [(name, value) for name, value in said.items() if value]


def _provenance(detector: Detector, version: Version | None) -> list[tuple[str, object]]:
    facts, calibration = detector.provenance, detector.calibration
    assert calibration is not None
    said = {
        "score": detector.score_name,
        "policy": calibration.policy.words,
        "calibrated per": ", ".join(calibration.cells.by),
        "validation nats": f"{facts['validation_nll']:.4g}" if "validation_nll" in facts else "",
        "measure": detector.measure_id,
        "data fingerprint": str(facts.get("fingerprint", ""))[:16],
        "training": facts.get("training"),
        "flowguard": None if version is None else version.tags.get("flowguard_version"),
        "commit": None if version is None else version.tags.get("git_commit", "")[:12],
        "MLflow run": None if version is None else version.run_id,
    }
    return [(name, value) for name, value in said.items() if value]


def _gate_note(gate: Recorded) -> str:
    against = "" if gate.champion is None else f", compared with version {gate.champion}"
    return f"Evaluated {gate.at[:16].replace('T', ' ')} UTC{against}, on records that were used for nothing else."


def _left_out(facts: Mapping[str, Any]) -> str:
    records = (facts.get("excluded") or {}).get("records", {})
    total = sum(records.values())
    if not total:
        return ""
    parts = ", ".join(f"{count:,} {part}" for part, count in records.items() if count)
    was = "1 record was" if total == 1 else f"{total:,} records were"
    return f"{was} left out, confirmed as anomalies: {parts}."


def _recalibrated(facts: Mapping[str, Any]) -> str:
    origin = facts.get("recalibrated")
    if not origin:
        return ""
    since, until = [*(origin.get("period") or ()), "", ""][:2]
    on = f", on records of {since or 'the beginning'} to {until or 'the end'}" if since or until else ""
    return f"Recalibrated from version {origin['version']}, whose weights it has{on}."


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
