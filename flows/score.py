"""Score a pipeline's new batches with the version that the registry calls champion, one task per batch.

python -m flows.score pipelines/flights.yaml
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from flows.local import RETRY, artifact_key, patience, resource_of, run_id, run_name, settle, stop_in_order  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment

from flowguard import logs
from flowguard.calibration.drift import DriftRecord
from flowguard.errors import CalibrationError
from flowguard.spec import load_pipeline
from flowguard.stages.enqueue import enqueue
from flowguard.stages.gate.gate import as_gated
from flowguard.stages.notify import notify_scored
from flowguard.stages.progress import say, work
from flowguard.stages.recalibrate import recalibrate
from flowguard.stages.score import ScoredBatch, plan_scoring, score_batch

from flows.artifacts import show_strangest  # isort: skip
from flows.failed import FAILED  # isort: skip
from flows.gate import pass_gate  # isort: skip
from flows.train import train  # isort: skip  (after Prefect's defaults)

plan = task(plan_scoring, name="plan", **RETRY)
queue_up = task(enqueue, name="enqueue", **RETRY)
tell_people = task(notify_scored, name="notify")  # what nobody could be told waits for the next run
score_one = task(score_batch, name="score", task_run_name="score {batch}", **RETRY)


@flow(name="score", flow_run_name=run_name, timeout_seconds=patience(6), log_prints=False, **FAILED)
def score(
    pipeline: str,
    batch: str | None = None,
    since: date | None = None,
    until: date | None = None,
    version: str = "champion",
    force: bool = False,
) -> list[ScoredBatch]:
    """Every batch that is new, or one; the version is looked up once, so that a run never mixes two."""
    planned = plan(pipeline, batch=batch, since=since, until=until, version=version, force=force)
    results: list[ScoredBatch] = []
    about = logs.scope(pipeline=planned.name, version=planned.version)
    with about, work(f"scoring with version {planned.version}", total=len(planned.batches)) as bar:
        for name in planned.batches:
            results.append(score_one(pipeline, name, version=planned.version, force=force, run=run_id()))
            bar.advance(1, name)
    # All that is scored, for a run before this one may have been killed before it came to that.
    queued = queue_up(pipeline)
    if results:
        show_strangest(pipeline, [result.manifest.batch for result in results])
        create_table_artifact(
            key=f"{artifact_key(planned.name)}-scored",
            table=[_figures(result) for result in results],
            description=f"{planned.name} version {planned.version}: {len(results)} batches",
        )
    tell_people(pipeline, queued.batches)
    for result in results:
        if result.fresh and not result.manifest.read:
            emit_event(
                event="flowguard.empty",
                resource=resource_of(planned.name),
                payload={"batch": result.manifest.batch, "sentence": f"{result.manifest.batch} holds no record."},
            )
    changed = [result.drift for result in results if result.drift is not None and result.drift.alarms]
    if changed:
        _tell_drift(pipeline, planned.name, planned.version, changed)
    return results


def _tell_drift(pipeline: str, name: str, version: int, changed: Sequence[DriftRecord]) -> None:
    """What follows an alarm, as the pipeline file says: an event for each and an artifact; then a challenger."""
    spec = load_pipeline(Path(pipeline))
    then = spec.drift.then
    if then == "nothing":
        return
    for record in changed:
        emit_event(
            event="flowguard.drift",
            resource=resource_of(name),
            payload={
                "batch": record.batch,
                "version": version,
                "kind": record.drift.kind if record.drift else "",
                "sentence": record.drift.sentence if record.drift else "",
                "channels": list(record.alarms),
            },
        )
    lines = [f"- **{record.batch}**: {record.drift.sentence}" for record in changed if record.drift is not None]
    followed = _follow(pipeline, name, version, then, since=spec.split.until)
    if followed:
        say(followed)
    create_markdown_artifact(
        key=f"{artifact_key(name)}-drift",
        markdown="\n".join([f"# Drift in {name}, version {version}", *lines, "", followed]),
        description=f"{len(lines)} alarms; then: {then}",
    )


def _follow(pipeline: str, name: str, version: int, then: str, *, since: date | None) -> str:
    """The challenger that an alarm brings about, and what came of it in a sentence; "" where none was asked for."""
    if then == "recalibrate":
        try:
            made = task(recalibrate, name="recalibrate", **RETRY)(pipeline, version=version, since=since)
        except CalibrationError as error:
            return f"{name} was not recalibrated: {error}"
        gated = pass_gate(pipeline, made.registered.version)
        registered = as_gated(made.registered, gated)
    elif then == "train" and deployment.name is not None:
        # A deployed run trains by a deployment: in its own work pool, one at a time, with its own time limit.
        try:
            run_deployment(f"train/{name}", timeout=0, as_subflow=False)
        except ObjectNotFound:
            return f"No training was started: the server has no deployment train/{name}. Run `flowguard deploy`."
        return f"A training was started: train/{name}."
    elif then == "train":
        trained = train(pipeline)
        registered, gated = trained.registered, trained.gated
    else:
        return ""
    known = "is there already: there are no other records to make one from" if registered.known else "was made"
    of_gate = "" if gated is None else f" {gated.sentence} {gated.note}".rstrip()
    return f"{registered.version} {known}.{of_gate}"


def _figures(result: ScoredBatch) -> dict[str, object]:
    manifest = result.manifest
    return {
        "batch": manifest.batch,
        "read": manifest.read,
        "scored": manifest.scored,
        "quarantined": manifest.quarantined_total,
        "flagged": manifest.flagged,
        "share": round(manifest.flagged / manifest.scored, 6) if manifest.scored else None,
        "policy": manifest.rule.words,
        "median score": round(manifest.quantiles["q50"], 3) if manifest.quantiles else None,
        "scored before": not result.fresh,
    }


if __name__ == "__main__":
    stop_in_order()
    score(sys.argv[1])
    settle()
