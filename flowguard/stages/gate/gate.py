"""Gate: compare a version with the champion on records that neither knows, and write down what came of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from flowguard.detector import Detector
from flowguard.errors import BundleError, OvertakenError
from flowguard.logs import note, scoped
from flowguard.registry import CHALLENGER, CHAMPION, Version
from flowguard.stages.gate.check import GATE, Check, Gated, outcome_of, tags_of
from flowguard.stages.gate.checks import false_alarms, likelihood, scores, verdicts
from flowguard.stages.gate.held_out import HeldOut, evaluate
from flowguard.stages.gate.known import KnownAnomalies, known_anomalies
from flowguard.stages.gate.last_batch import last_batch
from flowguard.stages.models import holder, promote
from flowguard.stages.register import Registered
from flowguard.stages.score import detector_of
from flowguard.stages.workspace import Workspace

LOG = logging.getLogger("flowguard.gate")


@scoped
def gate(pipeline: str | Path, version: str | int = CHALLENGER, *, against: str | int = CHAMPION) -> Gated:
    """Evaluate the gate of a version: its checks and the outcome, which the version's tags then hold.

    It is compared with `against`; with nobody where that is itself, or where there is no champion yet. Promotes
    nothing. Raises `RegistryError` for a version that is not there.
    """
    workspace = Workspace.open(pipeline)
    registry, name = workspace.registry, workspace.pipeline.name
    found = registry.resolve(name, version)
    note(version=found.version)
    known = against != CHAMPION or holder(registry, name, CHAMPION) is not None
    champion = registry.resolve(name, against) if known else None
    if champion is not None and champion.version == found.version:
        champion = None
    checks = _checks(workspace, found, champion)
    gated = Gated(
        version=found,
        champion=None if champion is None else champion.version,
        outcome=outcome_of(checks, workspace.pipeline.promote.needs),
        checks=tuple(checks),
    )
    at = datetime.now(UTC).isoformat(timespec="seconds")
    registry.note(found, metrics={}, step=0, tags=tags_of(gated, at=at))
    LOG.info("%s", gated.sentence)
    return replace(gated, version=registry.resolve(name, found.version))


@scoped
def admit(pipeline: str | Path, version: int) -> Gated | None:
    """Evaluate the gate of a version that was just made, and promote it if the pipeline file leaves that to the gate.

    None for the champion: the first version of a model scores without having to show anything. Only the challenger is
    promoted, so that a version that a person rolled back stays where it is when the same training makes it again. Of
    a person and the gate that promote at once, the first wins.
    """
    workspace = Workspace.open(pipeline)
    name = workspace.pipeline.name
    found = workspace.registry.resolve(name, version)
    if CHAMPION in found.aliases:
        return None
    gated = gate(pipeline, version)
    if workspace.pipeline.promote.by != GATE or gated.outcome != "passed":
        return gated
    if CHALLENGER not in gated.version.aliases:
        return replace(gated, note="It is not the challenger, so that the gate does not promote it.")
    try:
        why = f"passed the gate against version {gated.champion}" if gated.champion else "passed the gate"
        done = promote(workspace.runs, name, version, who=GATE, why=why, expected=gated.champion)
    except OvertakenError as error:
        return replace(gated, note=f"It was not promoted: {error}")
    return replace(gated, version=done.champion, promoted=True, note="The gate made it the champion.")


def as_gated(registered: Registered, gated: Gated | None) -> Registered:
    """A registered version with the tags and aliases that it has after its gate."""
    return registered if gated is None else replace(registered, version=gated.version)


def _checks(workspace: Workspace, found: Version, reference: Version | None) -> list[Check]:
    """The checks in order; a bundle that cannot be loaded fails the first, and there are no others."""
    try:
        detector = detector_of(workspace, found)
    except BundleError as error:
        return [Check("scores", "failed", str(error))]
    champion, hindered = None, ""
    if reference is not None:
        try:
            champion = detector_of(workspace, reference)
        except BundleError as error:
            hindered = f"The champion cannot be loaded: {error}"
    asked, held = workspace.pipeline.promote, evaluate(workspace, detector, champion)
    like = likelihood(detector, champion, held, asked)
    return [
        scores(detector, held),
        false_alarms(detector, held, asked),
        replace(like, sentence=hindered) if hindered else like,
        _on_verdicts(workspace, detector, champion, held, hindered),
        last_batch(workspace, found, detector),
    ]


def _on_verdicts(
    workspace: Workspace, detector: Detector, champion: Detector | None, held: HeldOut, hindered: str
) -> Check:
    known: KnownAnomalies | str
    if champion is None:
        known = hindered or "There is no other champion to compare with."
    elif held.old is None:
        known = f"Not comparable: {held.why}."
    else:
        known = known_anomalies(workspace, detector, champion)
    return verdicts(known, held, workspace.pipeline.promote, (detector, champion or detector))
