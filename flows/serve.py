"""Offer a pipeline's flows as Prefect deployments and run what the schedule asks for, until stopped.

PREFECT_API_URL=http://127.0.0.1:4200/api python -m flows.serve pipelines/flights.yaml [more.yaml ...]

`score <pipeline>` runs on the schedule of the pipeline file, `train <pipeline>` when somebody starts it. A schedule
needs a server that lives on: `prefect server start` in another terminal. Start this in the checkout's folder, because
every run is a Python process of its own that imports `flows` from the folder it was started in (or from PYTHONPATH);
pipeline files and their data may lie anywhere. Of the schedule `cron`, `timezone` and `active` hold here; what becomes
of runs that collide, and of runs that take too long, is for `flowguard deploy`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.local import need_server  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import EntrypointType
from prefect.schedules import Cron

from flowguard.errors import FlowguardError, InputError
from flowguard.spec import load_pipeline
from flows.score import score
from flows.train import train


def deployments(path: Path) -> list[RunnerDeployment]:
    """The deployments of one pipeline file."""
    pipeline = load_pipeline(path)
    common: dict[str, Any] = {
        "name": pipeline.name,
        "parameters": {"pipeline": str(pipeline.path)},
        "tags": ["flowguard", pipeline.name],
        "description": pipeline.description,
        "entrypoint_type": EntrypointType.MODULE_PATH,
    }
    schedule = pipeline.schedule
    cron = Cron(schedule.cron, timezone=schedule.timezone, active=schedule.active is not False) if schedule else None
    return [score.to_deployment(schedule=cron, **common), train.to_deployment(**common)]


def offer(paths: Sequence[str]) -> None:
    """Serve the flows of these pipeline files until stopped; raises `FlowguardError` when that cannot be."""
    if not paths:
        raise InputError("No pipeline file is named. Example: `python -m flows.serve pipelines/flights.yaml`.")
    offered = [deployment for path in paths for deployment in deployments(Path(path))]
    need_server()
    # Prefect's own handler of SIGTERM says so of itself; the runs are stopped all the same.
    warnings.filterwarnings("ignore", message="coroutine 'Runner.astop' was never awaited")
    serve(*offered, pause_on_shutdown=False)


if __name__ == "__main__":
    try:
        offer(sys.argv[1:])
    except FlowguardError as error:
        print(f"flows.serve: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
