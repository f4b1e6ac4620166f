"""Remove what is old, as `retention` in the pipeline file says; what a version or a verdict refers to stays.

python -m flows.prune pipelines/flights.yaml
"""

from __future__ import annotations

import sys

from flows.local import RETRY, artifact_key, patience, run_name, settle, stop_in_order  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import flow, task
from prefect.artifacts import create_table_artifact

from flowguard.stages.prune import Pruned
from flowguard.stages.prune import prune as stage

from flows.failed import FAILED  # isort: skip  (after Prefect's defaults)

MOST = 500
"""Rows of the artifact; the whole is what the run returns."""

remove_old = task(stage, name="prune", **RETRY)


@flow(name="prune", flow_run_name=run_name, timeout_seconds=patience(6), log_prints=False, **FAILED)
def prune(pipeline: str, dry_run: bool = False) -> Pruned:
    """With `dry_run` it is only told what would go."""
    done = remove_old(pipeline, dry_run=dry_run)
    rows = [
        *({"what": one.kind, "which": one.name, "goes by": one.why, "bytes": one.bytes} for one in done.removed),
        *({"what": one.kind, "which": one.name, "stays": one.why} for one in done.stays),
    ]
    if rows:
        create_table_artifact(
            key=f"{artifact_key(done.pipeline)}-pruned",
            table=rows[:MOST],
            description=f"{done.pipeline}: {len(done.removed):,} {'would go' if dry_run else 'went'}, "
            f"{len(done.stays):,} stay although they are old; {done.bytes:,} bytes",
        )
    return done


if __name__ == "__main__":
    stop_in_order()
    prune(sys.argv[1])
    settle()
