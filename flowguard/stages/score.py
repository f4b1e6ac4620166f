"""Score batches with a registered version: Parquet in, scores, reasons and quarantine out, each batch exactly once."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from flowguard.calibration import Decision, FalseDiscoveryRate, History
from flowguard.calibration.drift import DriftRecord
from flowguard.detector import Detector, Watch, load
from flowguard.logs import note, scoped
from flowguard.registry import Version
from flowguard.stages.decision import Undecided
from flowguard.stages.manifest import Manifest, latest, manifest_path, manifests, read_manifest, write_manifest
from flowguard.stages.observe import day_of, observe
from flowguard.stages.output import BatchWriter
from flowguard.stages.p_values import PValues
from flowguard.stages.progress import say, work
from flowguard.stages.rolling import roll
from flowguard.stages.workspace import Workspace
from flowguard.store import ScoredBatch as Remembered
from flowguard.tables import Fingerprint, RecordIds

LOG = logging.getLogger("flowguard.score")


@dataclass(frozen=True)
class ScoredBatch:
    """One batch's result; `fresh` is False when it had been scored before, and nothing was done nor drift looked at."""

    manifest: Manifest
    fresh: bool
    drift: DriftRecord | None = None


@dataclass(frozen=True)
class Plan:
    """What a scoring run will do: one version for all of its batches, in order."""

    name: str
    version: int
    batches: tuple[str, ...]


@scoped
def score(
    pipeline: str | Path,
    *,
    batch: str | None = None,
    since: date | None = None,
    until: date | None = None,
    version: str | int = "champion",
    force: bool = False,
) -> list[ScoredBatch]:
    """Score one batch, or every batch of a period that is new or was delivered again with other content."""
    plan = plan_scoring(pipeline, batch=batch, since=since, until=until, version=version, force=force)
    note(pipeline=plan.name, version=plan.version)
    results = []
    with work(f"scoring with version {plan.version}", total=len(plan.batches)) as bar:
        for name in plan.batches:
            results.append(score_batch(pipeline, name, version=plan.version, force=force))
            bar.advance(1, name)
    return results


@scoped
def plan_scoring(
    pipeline: str | Path,
    *,
    batch: str | None = None,
    since: date | None = None,
    until: date | None = None,
    version: str | int = "champion",
    force: bool = False,
) -> Plan:
    """The version and the batches that `score` would work on.

    A batch that was scored before, by whichever version, counts as done unless its source changed since; one that is
    named (a file's path will do) is always looked at, and `force` takes all. Raises `RegistryError` when there is no
    such version and `SourceError` when there is no such batch.
    """
    workspace = Workspace.open(pipeline)
    wanted = workspace.registry.resolve(workspace.pipeline.name, version)
    source = workspace.source()
    if batch is not None:
        names = [source.find_batch(batch).name]
    else:
        known = {} if force else latest(workspace.folder)
        names = [
            found.name
            for found in source.batches(since=since, until=until)
            if found.name not in known or known[found.name].stamp != source.stamp(found)
        ]
    return Plan(wanted.name, wanted.version, tuple(names))


@scoped
def score_batch(
    pipeline: str | Path,
    batch: str,
    *,
    version: str | int = "champion",
    force: bool = False,
    run: str | None = None,
) -> ScoredBatch:
    """Score one batch and put its files and manifest in place.

    Does nothing when the same data was scored by the same bundle before, or by any and pruned since, unless `force`.
    The result does not depend on how often, in which order or on how many machines this runs: files carry the data's
    fingerprint in their name and are renamed into place, and the manifest that makes them count comes last. `run` is
    recorded in the manifest.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    if run is not None:
        note(run=run)
    workspace = Workspace.open(pipeline)
    spec = workspace.pipeline
    wanted = workspace.registry.resolve(spec.name, version)
    note(version=wanted.version, batch=batch)
    detector = detector_of(workspace, wanted)
    source = workspace.source()
    found = source.find_batch(batch)
    note(batch=found.name)
    before = read_manifest(manifest_path(workspace.folder, found.name, wanted.version))
    stamp = source.stamp(found)
    columns = list(dict.fromkeys([*detector.columns, *spec.source.key]))

    if before is None or before.bundle != detector.digest:
        # What was pruned is not scored again because another version is the champion now.
        before = _pruned(workspace, found.name)
    if before is not None and not force:
        identity = _fingerprint(source.read(columns, batch=found))
        if before.fingerprint == identity and _whole(workspace, before):
            if before.stamp != stamp:
                with workspace.store.pruning.alone(spec.name, found.name):
                    known = manifest_path(workspace.folder, found.name, before.version)
                    before = replace(read_manifest(known) or before, stamp=stamp)
                    write_manifest(workspace.folder, before)
            LOG.info("scored before with the same data and version; nothing done")
            return ScoredBatch(before, fresh=False)

    fingerprint = Fingerprint()
    ids = RecordIds(spec.source.key)
    quarantined: Counter[str] = Counter()
    read = 0
    assert detector.calibration is not None, "only calibrated versions are registered"
    ranked = roll(workspace, wanted, detector, found.name)
    if ranked is not None:
        detector = replace(detector, calibration=ranked.calibration)
    calibration = detector.calibration
    assert calibration is not None
    undecided = Undecided(calibration)
    watch = Watch(detector.encoder, detector.columns, tuple(detector.redact))
    with BatchWriter(workspace, found.name, wanted.version, key=spec.source.key) as writer:
        for chunk in source.read(columns, batch=found):
            fingerprint.update(chunk)
            encoded = detector.encode(chunk)
            evaluation = detector.evaluate(encoded)
            record_ids = ids.update(chunk)
            scores = detector.judge(chunk, encoded, evaluation, record_id=record_ids)
            usable = np.array([reason is None for reason in scores.refused], dtype=bool)
            quarantined.update(reason for reason in scores.refused if reason is not None)
            writer.write_scores(chunk, record_ids, scores, usable)
            writer.write_quarantine(chunk, record_ids, scores.refused)
            undecided.add(chunk, record_ids, scores, usable)
            watch.add(chunk, evaluation.parts(usable), usable)
            read += len(usable)
        decision, history = _decided(workspace, wanted, found.name, undecided)
        writer.write_flags(decision.flag)
        for records, named in undecided.flagged(decision):
            encoded = detector.encode(records)
            rows, evaluation = np.arange(len(named)), detector.evaluate(encoded, by_column=True)
            writer.write_reasons(
                detector.reasons(records, encoded, evaluation, rows, record_ids=named, top=spec.output.reasons)
            )
        manifest = Manifest(
            pipeline=spec.name,
            batch=found.name,
            model=wanted.name,
            version=wanted.version,
            bundle=detector.digest,
            fingerprint=fingerprint.hexdigest(),
            stamp=stamp,
            read=read,
            scored=len(decision.flag),
            flagged=decision.discoveries,
            quarantined=dict(sorted(quarantined.items())),
            score=detector.score_name,
            policy=detector.policy.to_dict(),
            level=decision.level,
            guarantee=decision.guarantee,
            note=decision.note,
            cells={name: list(counts) for name, counts in undecided.by_cell(decision).items()},
            history=None if history is None else asdict(history),
            files={},
            quantiles=_quantiles(undecided.scores),
            started=started.isoformat(timespec="milliseconds"),
            seconds=round(time.perf_counter() - clock, 3),
            run=run,
            calibrated=None if calibration.dates is None else list(calibration.dates),
            reference=None if ranked is None else ranked.reference,
            thresholds=None if ranked is None else calibration.thresholds,
            p_values=PValues.of(undecided.p_values),
        )
        # Before the manifest, which says that all is done: what the store could not be told is scored again, and told.
        _remember(workspace, manifest)
        drifted = _observe(workspace, wanted, detector, found.name, undecided, watch)
        writer.close()
        # No pruning takes away what is put in place here, by what it read of the batch before.
        with workspace.store.pruning.alone(spec.name, found.name):
            manifest = replace(manifest, files=writer.finish(fingerprint.hexdigest()))
            write_manifest(workspace.folder, manifest)
            writer.remove_superseded()
    counts = ("read", "scored", "flagged", "quarantined_total", "seconds")
    LOG.info("scored", extra={name.removesuffix("_total"): getattr(manifest, name) for name in counts})
    if manifest.quarantined_total:
        say(f"{found.name}: {manifest.quarantined_total} of {read} records quarantined ({_listed(quarantined)})")
    if decision.note:
        say(f"{found.name}: {decision.note}")
    if drifted is not None and drifted.drift is not None:
        say(f"{found.name}: DRIFT: {drifted.drift.sentence}")
    return ScoredBatch(manifest, fresh=True, drift=drifted)


def _observe(
    workspace: Workspace, version: Version, detector: Detector, batch: str, undecided: Undecided, watch: Watch
) -> DriftRecord | None:
    """The batch's drift record; None for a version that was sealed without anything to compare with."""
    if detector.watched is None:
        return None
    reference = detector.watched.reference
    group = undecided.groups if reference.group is not None else None
    summary = reference.summarise(watch.records(undecided.scores, group), batch=batch, day=day_of(batch))
    return observe(workspace, version, detector, summary)


def _decided(
    workspace: Workspace, version: Version, batch: str, undecided: Undecided
) -> tuple[Decision, History | None]:
    """The decision on a batch, and its place in the budget where batches share one.

    A budget is a version's own, as its p-values come from one calibration. A batch is decided once: a delivery that
    came after keeps the level of the first.
    """
    policy = undecided.policy
    if not isinstance(policy, FalseDiscoveryRate) or not policy.pooled:
        return undecided.decide(), None
    reserved = workspace.store.budgets.reserve(
        version.name,
        f"version {version.version}, {policy.words}",
        batch=batch,
        records=len(undecided.p_values),
        decide=policy.in_turn(undecided.p_values, n_reference=undecided.sizes),
    )
    history = History(reserved.t, reserved.discoveries_before)
    decision = undecided.decide(history)
    flag = undecided.p_values <= reserved.level
    # What hindered flags is no news where there are some.
    note = None if flag.any() else decision.note
    return replace(decision, flag=flag, level=reserved.level, note=note), history


@lru_cache(maxsize=4)
def _loaded(folder: str, digest: str) -> Detector:
    return load(Path(folder))


def bundles(workspace: Workspace) -> Path:
    """Where fetched bundles are kept, by digest."""
    return workspace.runs / ".bundles"


def detector_of(workspace: Workspace, version: Version) -> Detector:
    """The detector of a registered version; fetched and checked once per process."""
    folder = workspace.registry.fetch(version, bundles(workspace))
    return _loaded(os.fspath(folder), version.digest)


def _remember(workspace: Workspace, manifest: Manifest) -> None:
    workspace.store.batches.put(
        Remembered(
            pipeline=manifest.pipeline,
            batch=manifest.batch,
            version=manifest.version,
            bundle=manifest.bundle,
            fingerprint=manifest.fingerprint,
            read=manifest.read,
            scored=manifest.scored,
            flagged=manifest.flagged,
            quarantined=manifest.quarantined_total,
            policy={**manifest.policy, "level": manifest.level},
            scored_at=datetime.fromisoformat(manifest.started),
        )
    )


def _pruned(workspace: Workspace, batch: str) -> Manifest | None:
    """The last word on a batch, where retention took away what it rests on."""
    last = max(manifests(workspace.folder, batch=batch), key=lambda one: one.started, default=None)
    return last if last is not None and last.was_pruned("scores") else None


def _fingerprint(chunks: Iterable[pa.RecordBatch]) -> str:
    fingerprint = Fingerprint()
    for chunk in chunks:
        fingerprint.update(chunk)
    return fingerprint.hexdigest()


def _whole(workspace: Workspace, manifest: Manifest) -> bool:
    return all((workspace.folder / file).exists() for file in manifest.files.values())


def _quantiles(scores: np.ndarray) -> dict[str, float]:
    if not len(scores):
        return {}
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    return {f"q{round(level * 100):02d}": float(value) for level, value in zip(levels, np.quantile(scores, levels))}


def _listed(reasons: Counter[str]) -> str:
    return "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
