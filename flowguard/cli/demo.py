"""Run the main job on real data: 336,776 flights, from Parquet to flagged records with reasons."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowguard.cli import output
from flowguard.cli.flagged import tell_flagged
from flowguard.cli.score import tell_scored
from flowguard.cli.train import tell_trained
from flowguard.errors import InputError

if TYPE_CHECKING:
    from flowguard.stages.report import Reported

EXAMPLE = "flowguard demo"
PIPELINE = "pipelines/flights.yaml"


def command(
    project: Path = typer.Option(Path(), help="The project folder, with flows/ and pipelines/."),
    as_json: bool = output.JSON,
) -> None:
    project = project.resolve()
    pipeline = project / PIPELINE
    if not (project / "flows" / "demo.py").exists() or not pipeline.exists():
        raise InputError(
            f"The demo runs from a checkout of flowguard: {project} has no flows/demo.py or no {PIPELINE}. "
            "Change to the checkout's folder, or name it with --project."
        )
    from flowguard.settings import settings

    # Prefect's own database beside MLflow's, unless the user has set up either; must be set before prefect loads.
    if settings(project).prefect_api_url is None:
        home = Path(os.environ.setdefault("PREFECT_HOME", str(project / "runs" / "prefect")))
        home.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(project))

    from flowguard.stages.demo import write_flights
    from flowguard.stages.flagged import flagged

    with output.reporting(as_json):
        write_flights(project / "data" / "flights")
        shown = importlib.import_module("flows.demo").run(str(pipeline))
    strangest = flagged(pipeline, top=12)

    def tell() -> None:
        trained = shown.trained
        output.say("")
        tell_trained(trained)
        fresh = [scored.manifest for scored in shown.scored if scored.fresh]
        if fresh:
            tell_scored(fresh)
        else:
            output.say("May to July: every day was scored before with the same data; nothing done.")
        _tell_rates(shown.reported)
        output.say("")
        tell_flagged(strangest, f"The strangest of {strangest.total:,} flagged flights, May to July 2013")
        _tell_next(project, shown.reported)

    output.emit(shown, as_json, tell)


def _tell_rates(reported: Reported) -> None:
    from flowguard.reports.sentences import verdict

    lines = [line for line in (reported.holdout, *reported.groups, reported.overall) if line is not None]
    rows = [
        [
            line.name,
            f"{line.scored:,}",
            output.percent(line.asked),
            output.percent(line.observed),
            output.percent(line.standard_error),
            verdict(line),
        ]
        for line in lines
    ]
    output.say("")
    columns = ["flagged share", "scored", "asked", "observed", "std. error", "verdict"]
    output.table("Asked and observed", columns, rows, right=tuple(columns[1:5]))
    for notice in reported.notices:
        output.say(notice)


def _tell_next(project: Path, reported: Reported) -> None:
    def short(path: Path) -> str:
        return os.path.relpath(path, Path.cwd())

    pipeline, runs = short(project / PIPELINE), short(project / "runs")
    output.next_commands(
        f"flowguard review {pipeline}    # the desk: work through what was flagged",
        f"open {short(reported.run)}                # the run's page; every day has its own",
        f"flowguard flagged {pipeline} --batch 2013-05-25",
        f"flowguard cases {pipeline}    # the 250, grouped by what is wrong with them",
        f"flowguard why {pipeline} month=5,day=25,carrier=DL,flight=1499",
        f"flowguard score {pipeline} --since 2013-08-01 --until 2013-09-01    # August is still to be scored",
        f"mlflow ui --backend-store-uri sqlite:///{runs}/mlflow.db",
        f"PREFECT_HOME={runs}/prefect prefect server start",
        "flowguard init YOUR.parquet --out pipelines/yours.yaml    # your own data",
    )
