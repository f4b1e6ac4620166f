"""What the source tells: whether the batch is there that is due, which are missing, and which wait to be scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import Metric

from flowguard.stages.freshness import Freshness, freshness
from flowguard.stages.metrics.family import gauge, seconds
from flowguard.stages.workspace import Workspace


def delivered(workspace: Workspace) -> Freshness:
    """Read it: the source is listed, no record is read."""
    return freshness(workspace.pipeline.path)


def families(found: Mapping[str, Freshness]) -> Iterator[Metric]:
    """The families of these pipelines."""
    yield gauge(
        "batch_late",
        "1 where the batch that is due by the schedule is not there; 0 without a schedule.",
        (([name], one.late) for name, one in found.items()),
    )
    yield gauge(
        "batch_due_timestamp_seconds",
        "When the schedule fired last.",
        (([name], seconds(one.due)) for name, one in found.items()),
    )
    yield gauge(
        "batches_missing",
        "Earlier daily batches that never came.",
        (([name], len(one.missing)) for name, one in found.items()),
    )
    yield gauge(
        "batches_waiting",
        "Batches that are there and are not scored as they are now.",
        (([name], len(one.waiting)) for name, one in found.items()),
    )
    yield gauge(
        "source_written_timestamp_seconds",
        "When the newest file of the source was written.",
        (([name], seconds(one.delivered)) for name, one in found.items()),
    )
