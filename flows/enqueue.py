"""Put scored batches into the queue of the desk; scoring does it by itself, this is for what was scored before.

python -m flows.enqueue pipelines/flights.yaml
"""

from __future__ import annotations

import sys

from flows.local import RETRY, patience, run_name, settle, stop_in_order  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import flow, task

from flowguard.stages.enqueue import Enqueued
from flowguard.stages.enqueue import enqueue as stage

from flows.failed import FAILED  # isort: skip  (after Prefect's defaults)

queue_up = task(stage, name="enqueue", **RETRY)


@flow(name="enqueue", flow_run_name=run_name, timeout_seconds=patience(6), log_prints=False, **FAILED)
def enqueue(pipeline: str, batches: list[str] | None = None, again: bool = False) -> Enqueued:
    """Every scored batch, or some, unless they stand in the queue as they were scored last; `again` takes all anew."""
    return queue_up(pipeline, batches=batches, again=again)


if __name__ == "__main__":
    stop_in_order()
    enqueue(sys.argv[1])
    settle()
