"""Check, fit, calibrate and register: the first version becomes champion, later ones challenger."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from flowguard.cli import output
from flowguard.cli.gate import promotion, tell_gate

if TYPE_CHECKING:
    from flowguard.stages.calibrate import Calibrated
    from flowguard.stages.exclude import Excluded
    from flowguard.stages.train import Trained

EXAMPLE = "flowguard train pipelines/flights.yaml"


def command(file: Path = output.PIPELINE, as_json: bool = output.JSON) -> None:
    from flowguard.stages.train import train

    with output.reporting(as_json):
        trained = train(file)

    def tell() -> None:
        tell_trained(trained)
        version = trained.registered.version
        follow = [f"flowguard score {file}", f"flowguard models {version.name}"]
        tell_gate(trained.gated)
        if trained.gated is not None and not trained.gated.promoted:
            follow.insert(0, promotion(trained.gated))
        output.next_commands(*follow)

    output.emit(trained, as_json, tell)


def tell_trained(trained: Trained) -> None:
    """What training made, in a few lines."""
    fitted, calibrated, registered = trained.fitted, trained.calibrated, trained.registered
    counts = ", ".join(f"{count:,} {part}" for part, count in trained.dealt.records.items())
    output.say(f"Records: {counts}.")
    tell_left_out(trained.dealt.excluded, calibrated)
    if fitted is None or calibrated is None:
        output.say(f"{registered.version} was trained from these records and settings before; nothing to do.")
        return
    best = f"best epoch {fitted.best_epoch} of {fitted.epochs}"
    output.say(f"Trained in {fitted.seconds:.0f} s ({best}): {fitted.validation_nll:.3f} nats per validation record.")
    output.say(
        f"Policy: {calibrated.policy}, "
        + (f"flags above a score of {calibrated.threshold:.2f}, " if math.isfinite(calibrated.threshold) else "")
        + f"from {calibrated.size:,} calibration records "
        + f"(smallest level they support: {calibrated.smallest_level:.2g})."
    )
    if calibrated.dates is not None:
        output.say(f"Calibrated on records of {' to '.join(calibrated.dates)}.")
    tell_tails(calibrated)
    if len(calibrated.sizes) > 1:
        cells = "; ".join(f"{name}: {size:,}" for name, size in calibrated.sizes.items())
        output.say(f"Calibrated in {len(calibrated.sizes)} cells, each on its own records. {cells}.")
    if calibrated.holdout is not None:
        check = calibrated.holdout
        verdict = "within" if check.within else "OUTSIDE"
        output.say(
            f"Hold-out: asked {output.percent(check.asked)}, observed {output.percent(check.observed)} of "
            f"{check.records:,} records in {check.units:,} units; {verdict} 3 standard errors "
            f"({output.percent(check.standard_error)} each, clustered by unit, calibration's own error included)."
        )
    outside = [name for name, check in calibrated.cells.items() if not check.within]
    if calibrated.cells:
        said = f"OUTSIDE it: {', '.join(outside)}" if outside else "all within 3 standard errors"
        output.say(f"Hold-out by cell: {said}.")
    output.say(f"Registered {registered.version}.")


def tell_left_out(excluded: Excluded | None, calibrated: Calibrated | None) -> None:
    """Which confirmed anomalies a version was made without, and what the rate would be if they were none."""
    if excluded is None:
        return
    output.say(f"Left out: {excluded.words}.")
    ranked = excluded.records.get("calibration", 0)
    if calibrated is None or not ranked or not math.isfinite(calibrated.threshold) or len(calibrated.sizes) > 1:
        return
    from flowguard.calibration.left_out import rate_at_most

    rate = output.percent(rate_at_most(calibrated.level, calibrated.size, ranked))
    output.say(
        f"If the {ranked:,} of them that would have calibrated were ordinary after all, up to {rate} of ordinary "
        f"records would be flagged instead of {output.percent(calibrated.level)}."
    )


def tell_tails(calibrated: Calibrated) -> None:
    """How the tail of each cell fits, where p-values below the smallest level come from one."""
    for name, words in calibrated.tail_words.items():
        of_cell = f" of {name}" if len(calibrated.tail_words) > 1 else ""
        output.say(f"Tail{of_cell}, for p-values below that level: {words}.")
