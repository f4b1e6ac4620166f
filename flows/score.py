"""Score a pipeline's new batches with the version that the registry calls champion, one task per batch.

python -m flows.score pipelines/flights.yaml
"""

from __future__ import annotations

import sys
from datetime import date

from flows.local import RETRY, artifact_key, run_id, run_name, settle, stop_in_order  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from flowguard.stages.progress import work
from flowguard.stages.score import ScoredBatch, plan_scoring, score_batch

plan = task(plan_scoring, name="plan", **RETRY)
score_one = task(score_batch, name="score", task_run_name="score {batch}", **RETRY)


@flow(name="score", flow_run_name=run_name, log_prints=False)
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
    with work(f"scoring with version {planned.version}", total=len(planned.batches)) as bar:
        for name in planned.batches:
            results.append(score_one(pipeline, name, version=planned.version, force=force, run=run_id()))
            bar.advance(1, name)
    if results:
        create_table_artifact(
            key=f"{artifact_key(planned.name)}-scored",
            table=[_figures(result) for result in results],
            description=f"{planned.name} version {planned.version}: {len(results)} batches",
        )
    return results


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
