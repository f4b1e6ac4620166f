"""Is the batch there that should be, and did the data change? An event where it is not, and a page of both.

python -m flows.monitor pipelines/flights.yaml
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from flows.local import RETRY, artifact_key, patience, resource_of, run_name, settle, stop_in_order  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.logging import get_run_logger

from flowguard import logs
from flowguard.errors import InputError
from flowguard.stages.drift import Drifted, drift
from flowguard.stages.freshness import Freshness, freshness
from flowguard.stages.notify import notify_late

from flows.failed import FAILED  # isort: skip  (after Prefect's defaults)


@dataclass(frozen=True)
class Monitored:
    """What was found; `drifted` is None where nothing can be said of the drift, and `why` says what hindered."""

    freshness: Freshness
    drifted: Drifted | None
    why: str = ""


def _drifted(pipeline: str) -> Drifted | str:
    """The drift, or in a sentence why there is none to tell of: no champion, or it has scored nothing yet."""
    try:
        return drift(pipeline)
    except InputError as error:
        return str(error)


look_at_batches = task(freshness, name="freshness", **RETRY)
look_at_drift = task(_drifted, name="drift", **RETRY)
tell_people = task(notify_late, name="notify")


@flow(name="monitor", flow_run_name=run_name, timeout_seconds=patience(6), log_prints=False, **FAILED)
def monitor(pipeline: str) -> Monitored:
    """Emits `flowguard.late` when the batch that is due is not there.

    An empty batch and an alarm of drift are told by the run that scores the batch; here they are summed up, and the
    drift page is written anew.
    """
    found = look_at_batches(pipeline)
    seen = look_at_drift(pipeline)
    drifted, why = (None, seen) if isinstance(seen, str) else (seen, "")
    if found.late:
        with logs.scope(pipeline=found.pipeline):
            get_run_logger().warning("%s: %s", found.pipeline, found.sentence)
        emit_event(
            event="flowguard.late",
            resource=resource_of(found.pipeline),
            payload={
                "batch": found.expected or "",
                "newest": found.newest or "",
                "due": found.due.isoformat() if found.due else "",
                "sentence": found.sentence,
            },
        )
    tell_people(pipeline, found)
    create_markdown_artifact(
        key=f"{artifact_key(found.pipeline)}-monitor",
        markdown=_page(found, drifted, why),
        description=f"{'LATE: ' if found.late else ''}{found.sentence}",
    )
    return Monitored(found, drifted, why)


def _page(found: Freshness, drifted: Drifted | None, why: str) -> str:
    lines = [f"# {found.pipeline}", f"- {'**Late.** ' if found.late else ''}{found.sentence}"]
    if found.newest:
        lines.append(f"- newest batch: {found.newest}")
    for what, names in (
        ("never came", found.missing),
        ("wait to be scored", found.waiting),
        ("hold no record", found.empty),
    ):
        if names:
            shown = ", ".join(names[-10:])
            lines.append(f"- {len(names):,} {what}: {'..., ' if len(names) > 10 else ''}{shown}")
    if drifted is None:
        lines.append(f"- drift: {why}")
    else:
        alarms = [one for one in drifted.alarms if one.drift is not None]
        lines.append(
            f"- drift under version {drifted.version}: {len(alarms):,} alarms in {len(drifted.records):,} batches"
        )
        lines += [f"    - {one.batch}: {one.drift.sentence}" for one in alarms[-3:] if one.drift is not None]
        lines.append(f"- drift page: `{drifted.page}`")
    return "\n".join(lines)


if __name__ == "__main__":
    stop_in_order()
    monitor(sys.argv[1])
    settle()
