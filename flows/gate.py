"""The gate of a version that a flow has just made: a task, an event where it fails, and lines for an artifact."""

from __future__ import annotations

from flows.local import RETRY, resource_of  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import task
from prefect.events import emit_event
from prefect.logging import get_run_logger

from flowguard.registry import Version
from flowguard.stages.gate.check import Gated
from flowguard.stages.gate.gate import admit
from flowguard.stages.notify import notify_gate

admit_version = task(admit, name="gate", **RETRY)
tell_people = task(notify_gate, name="notify")


def pass_gate(pipeline: str, version: Version) -> Gated | None:
    """What the gate says of it, None for the champion. Emits `flowguard.gate` where it fails."""
    gated = admit_version(pipeline, version.version)
    if gated is not None and gated.outcome == "failed":
        get_run_logger().warning("%s", gated.sentence)
        emit_event(
            event="flowguard.gate",
            resource=resource_of(version.name),
            payload={
                "version": gated.version.version,
                "champion": gated.champion,
                "failed": gated.failed,
                "sentence": gated.sentence,
            },
        )
    if gated is not None:
        tell_people(pipeline, gated)
    return gated


def gate_lines(gated: Gated | None) -> list[str]:
    """The gate as lines of a page in Markdown."""
    if gated is None:
        return []
    answers = {"unknown": "cannot say", "told": "for information"}
    lines = [f"    - {one.name}: {answers.get(one.answer, one.answer)}. {one.sentence}" for one in gated.checks]
    return [f"- gate: **{gated.outcome}**. {gated.note}".rstrip(), *lines]
