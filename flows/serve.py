"""Offer a pipeline's flows as Prefect deployments and run what the schedule asks for, until stopped.

python -m flows.serve pipelines/flights.yaml [more.yaml ...]

`score <pipeline>` runs on the schedule of the pipeline file, `train <pipeline>` when somebody starts it. Set
PREFECT_API_URL to a running server (`prefect server start`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from flows import local as local  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import EntrypointType
from prefect.schedules import Cron

from flowguard.spec import load_pipeline
from flows.score import score
from flows.train import train


def deployments(path: Path) -> list[RunnerDeployment]:
    """The deployments of one pipeline file."""
    pipeline = load_pipeline(path)
    common = {
        "name": pipeline.name,
        "parameters": {"pipeline": str(pipeline.path)},
        "tags": ["flowguard", pipeline.name],
        "description": pipeline.description,
        "entrypoint_type": EntrypointType.MODULE_PATH,
    }
    schedule = pipeline.schedule
    cron = Cron(schedule.cron, timezone=schedule.timezone) if schedule else None
    return [score.to_deployment(schedule=cron, **common), train.to_deployment(**common)]


if __name__ == "__main__":
    serve(
        *(deployment for path in sys.argv[1:] for deployment in deployments(Path(path))),
        pause_on_shutdown=False,
    )
