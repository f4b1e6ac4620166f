"""A small real project with scored and queued batches, and a browser at its desk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
from fastapi.testclient import TestClient

from flowguard.review.web.app import create_app
from flowguard.review.web.desk import Desk
from flowguard.stages.enqueue import enqueue
from flowguard.stages.score import score
from tests.stages.test_why import odd_batch

BASE = "http://127.0.0.1:8765"


def scored_project(trained_project: Path, folder: Path) -> Path:
    """A copy of the trained project with every batch scored and queued, an odd one among them: its pipeline file."""
    shutil.copytree(trained_project, folder)
    pq.write_table(odd_batch(), folder / "data/odd.parquet")
    path = folder / "pipelines/meters.yaml"
    score(path)
    enqueue(path)
    return path


def browser(path: Path, **changes: object) -> TestClient:
    """A browser at the desk of a pipeline, as the user of this process; it follows no redirects."""
    root = path.parents[1]
    desk = Desk(pipelines={"meters": path}, root=root, runs=root / "runs", **changes)  # type: ignore[arg-type]
    return TestClient(create_app(desk), base_url=BASE, client=("127.0.0.1", 50_000), follow_redirects=False)
