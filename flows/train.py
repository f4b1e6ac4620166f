"""Train a pipeline's next version: check, deal, fit, calibrate, register, gate, one task each.

python -m flows.train pipelines/flights.yaml
"""

from __future__ import annotations

import sys

from flows.local import RETRY, artifact_key, patience, run_name, settle, stop_in_order  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from flowguard.stages.calibrate import Calibrated, calibrate
from flowguard.stages.check import check
from flowguard.stages.deal import deal
from flowguard.stages.fit import Fitted, fit
from flowguard.stages.gate.check import Gated
from flowguard.stages.gate.gate import as_gated
from flowguard.stages.register import Registered, clear_drafts, register
from flowguard.stages.train import Trained

from flows.failed import FAILED  # isort: skip  (after Prefect's defaults)
from flows.gate import gate_lines, pass_gate  # isort: skip  (after Prefect's defaults)

check_data = task(check, name="check", **RETRY)
deal_records = task(deal, name="deal", **RETRY)
fit_density = task(fit, name="fit", **RETRY)  # a retry goes on from the last checkpoint
calibrate_thresholds = task(calibrate, name="calibrate", **RETRY)
register_version = task(register, name="register", **RETRY)


@flow(name="train", flow_run_name=run_name, timeout_seconds=patience(24), log_prints=False, **FAILED)
def train(pipeline: str) -> Trained:
    """From a pipeline file to a registered version; nothing is trained when the registry has the very same one.

    Emits `flowguard.gate` where the version fails its gate; it is promoted where the pipeline file lets the gate do so.
    """
    checked = check_data(pipeline)
    dealt = deal_records(pipeline)
    fitted = calibrated = None
    if dealt.known is not None:
        registered = Registered(dealt.known, known=True)
    else:
        fitted = fit_density(pipeline, dealt)
        calibrated = calibrate_thresholds(pipeline, fitted.folder)
        registered = register_version(pipeline, calibrated.folder)
    clear_drafts(pipeline)
    gated = pass_gate(pipeline, registered.version)
    registered = as_gated(registered, gated)
    if fitted is not None and calibrated is not None:
        create_markdown_artifact(
            key=f"{artifact_key(checked.name)}-version",
            markdown=_page(fitted, calibrated, registered, gated),
            description=str(registered.version),
        )
    return Trained(checked, dealt, fitted, calibrated, registered, gated)


def _page(fitted: Fitted, calibrated: Calibrated, registered: Registered, gated: Gated | None) -> str:
    lines = [
        f"# {registered.version}",
        f"- best epoch {fitted.best_epoch} of {fitted.epochs}, {fitted.validation_nll:.3f} nats per validation record",
        f"- policy: {calibrated.policy}, from {calibrated.size:,} calibration records",
    ]
    if "excluded" in registered.version.tags:
        lines.append(f"- left out: {registered.version.tags['excluded']}")
    if calibrated.holdout:
        rate = calibrated.holdout
        lines.append(
            f"- hold-out: asked {rate.asked:g}, observed {rate.observed:.2g} (standard error {rate.standard_error:.2g})"
        )
    return "\n".join([*lines, *gate_lines(gated), f"- bundle `{calibrated.digest}`"])


if __name__ == "__main__":
    stop_in_order()
    train(sys.argv[1])
    settle()
