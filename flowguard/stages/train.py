"""Train: check, deal, fit, calibrate, register and gate in one go, as the command does, and the flow task by task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flowguard.logs import scoped
from flowguard.stages.calibrate import Calibrated, calibrate
from flowguard.stages.check import Checked, check
from flowguard.stages.deal import Dealt, deal
from flowguard.stages.fit import Fitted, fit
from flowguard.stages.gate.check import Gated
from flowguard.stages.gate.gate import admit, as_gated
from flowguard.stages.register import Registered, clear_drafts, register


@dataclass(frozen=True)
class Trained:
    """What each step of a training made; `fitted` and `calibrated` are None when the version was known already.

    `gated` is what its gate found, None for the champion, which has nothing to show.
    """

    checked: Checked
    dealt: Dealt
    fitted: Fitted | None
    calibrated: Calibrated | None
    registered: Registered
    gated: Gated | None = None


@scoped
def train(pipeline: str | Path) -> Trained:
    """From a pipeline file to a registered version.

    The same records, settings and seed make the same version: when the registry has it, nothing is trained. A version
    that is not the champion passes the gate or not, see `admit`.
    """
    checked = check(pipeline)
    dealt = deal(pipeline)
    fitted = calibrated = None
    if dealt.known is not None:
        registered = Registered(dealt.known, known=True)
    else:
        fitted = fit(pipeline, dealt)
        calibrated = calibrate(pipeline, fitted.folder)
        registered = register(pipeline, calibrated.folder)
    clear_drafts(pipeline)
    gated = admit(pipeline, registered.version.version)
    return Trained(checked, dealt, fitted, calibrated, as_gated(registered, gated), gated)
