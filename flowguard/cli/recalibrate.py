"""New thresholds for the weights of a version, on records it was not trained on: a version of its own."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import typer

from flowguard.cli import output
from flowguard.cli.gate import promotion, tell_gate
from flowguard.cli.train import tell_left_out, tell_tails

EXAMPLE = "flowguard recalibrate pipelines/flights.yaml --since 2013-05-01 --until 2013-07-01"


def command(
    file: Path = output.PIPELINE,
    version: str = typer.Option("champion", help="An alias or a version number: whose weights to keep."),
    since: datetime | None = typer.Option(
        None, formats=["%Y-%m-%d"], help="First day of the records to calibrate on; without both, the split's period."
    ),
    until: datetime | None = typer.Option(None, formats=["%Y-%m-%d"], help="First day that no longer counts."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.gate.gate import admit, as_gated
    from flowguard.stages.recalibrate import recalibrate

    with output.reporting(as_json):
        made = recalibrate(
            file,
            version=version,
            since=since.date() if since else None,
            until=until.date() if until else None,
        )
        gated = admit(file, made.registered.version.version)
        made = replace(made, registered=as_gated(made.registered, gated))

    def tell() -> None:
        calibrated, registered = made.calibrated, made.registered
        threshold = (
            f", flags above a score of {calibrated.threshold:.2f}" if math.isfinite(calibrated.threshold) else ""
        )
        of = f" of {' to '.join(calibrated.dates)}" if calibrated.dates else ""
        output.say(
            f"Weights of {made.parent}, calibrated on {calibrated.size:,} records{of}: {calibrated.policy}{threshold}."
        )
        tell_left_out(made.excluded, calibrated)
        tell_tails(calibrated)
        if calibrated.holdout is not None:
            check = calibrated.holdout
            output.say(
                f"Hold-out: asked {output.percent(check.asked)}, observed {output.percent(check.observed)} of "
                f"{check.records:,} records ({'within' if check.within else 'OUTSIDE'} 3 standard errors)."
            )
        known = " (there already)" if registered.known else ""
        output.say(f"Registered {registered.version}{known}. Nothing was trained and nothing was overwritten.")
        tell_gate(gated)
        follow = [f"flowguard models {registered.version.name}"]
        if gated is not None and not gated.promoted:
            follow.insert(0, promotion(gated))
        output.next_commands(*follow)

    output.emit({**output.plain(made), "gated": output.plain(gated)}, as_json, tell)
