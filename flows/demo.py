"""The main job on real flights: train on winter and spring, score the summer's days, write the pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from flows.local import run_name, settle, stop_in_order  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import flow, task

from flowguard.stages.report import Reported, report
from flowguard.stages.score import ScoredBatch
from flowguard.stages.train import Trained
from flows.artifacts import show_pages
from flows.score import score
from flows.train import train

SINCE, UNTIL = date(2013, 5, 1), date(2013, 8, 1)

write_pages = task(report, name="report")


@dataclass(frozen=True)
class Shown:
    """What the demo made."""

    trained: Trained
    scored: list[ScoredBatch]
    reported: Reported


@flow(name="demo", flow_run_name=run_name, log_prints=False)
def demo(pipeline: str) -> Shown:
    """Train, score May to July as daily batches, report."""
    trained = train(pipeline)
    scored = score(pipeline, since=SINCE, until=UNTIL)
    reported = write_pages(pipeline)
    show_pages(pipeline, reported)
    return Shown(trained, scored, reported)


def run(pipeline: str) -> Shown:
    """The whole demo; returns once the Prefect database holds every run."""
    stop_in_order()
    shown = demo(pipeline)
    settle()
    return shown
