"""New thresholds for the weights of a version: a challenger of its own.

python -m flows.recalibrate pipelines/flights.yaml
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import date

from flows.local import RETRY, artifact_key, patience, run_name, settle, stop_in_order  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from flowguard.stages.gate.gate import as_gated
from flowguard.stages.recalibrate import Recalibrated
from flowguard.stages.recalibrate import recalibrate as stage

from flows.failed import FAILED  # isort: skip  (after Prefect's defaults)
from flows.gate import gate_lines, pass_gate  # isort: skip  (after Prefect's defaults)

calibrate_again = task(stage, name="recalibrate", **RETRY)


@flow(name="recalibrate", flow_run_name=run_name, timeout_seconds=patience(6), log_prints=False, **FAILED)
def recalibrate(
    pipeline: str, version: str = "champion", since: date | None = None, until: date | None = None
) -> Recalibrated:
    """On the records of a period that the version was not trained on; without one, of the split's period.

    Emits `flowguard.gate` as a training does.
    """
    made = calibrate_again(pipeline, version=version, since=since, until=until)
    gated = pass_gate(pipeline, made.registered.version)
    made = replace(made, registered=as_gated(made.registered, gated))
    calibrated, registered = made.calibrated, made.registered
    lines = [
        f"# {registered.version}",
        f"- weights of {made.parent}",
        f"- policy: {calibrated.policy}, from {calibrated.size:,} calibration records"
        + (f" of {' to '.join(calibrated.dates)}" if calibrated.dates else ""),
        *(["- the same records and settings made it before"] if registered.known else []),
        *gate_lines(gated),
    ]
    create_markdown_artifact(
        key=f"{artifact_key(registered.version.name)}-version",
        markdown="\n".join(lines),
        description=str(registered.version),
    )
    return made


if __name__ == "__main__":
    stop_in_order()
    recalibrate(sys.argv[1])
    settle()
