"""What the store and the manifest of the newest batch tell: records, flags, p-values, drift, the queue, verdicts."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from prometheus_client.metrics_core import GaugeHistogramMetricFamily, Metric

from flowguard.calibration.drift import DriftRecord
from flowguard.errors import FlowguardError
from flowguard.stages.manifest import Manifest, manifest_path, read_manifest
from flowguard.stages.metrics.family import counter, gauge, seconds
from flowguard.stages.workspace import Workspace
from flowguard.store import DECISIONS, ScoredBatch, Total

LOG = logging.getLogger("flowguard.metrics")


@dataclass(frozen=True)
class Stored:
    """What is remembered of a pipeline; `manifest` and `drift` are of the batch that was scored last."""

    total: Total
    manifest: Manifest | None
    drift: DriftRecord | None


def stored(workspace: Workspace) -> Stored:
    """Read it: a few questions to the store, and one file, which the store does without."""
    total = workspace.store.totals.of(workspace.pipeline.name)
    last, manifest = total.last, None
    if last is not None:
        try:
            manifest = read_manifest(manifest_path(workspace.folder, last.batch, last.version))
        except FlowguardError as error:
            _complain(str(error))
    return Stored(total, manifest, None if total.drift is None else DriftRecord.from_json(total.drift["record"]))


def families(found: Mapping[str, Stored]) -> Iterator[Metric]:
    """The families of these pipelines."""
    totals = {name: one.total for name, one in found.items()}
    yield from _scored(totals)
    yield from _last(found)
    yield from _drift(found)
    yield from _queue(totals)


def _scored(found: Mapping[str, Total]) -> Iterator[Metric]:
    versions = [(name, str(number), one) for name, total in found.items() for number, one in total.scored.items()]
    yield gauge(
        "batches",
        "Batches scored, each once per version that scored it.",
        (([name, version], one.batches) for name, version, one in versions),
        by=("pipeline", "version"),
    )
    yield gauge(
        "records",
        "Records of these batches: ordinary, flagged, or quarantined because they could not be scored. "
        "A batch that is scored anew replaces what it was, so that this may fall.",
        (
            ([name, version, outcome], count)
            for name, version, one in versions
            for outcome, count in _outcomes(one.scored, one.flagged, one.quarantined)
        ),
        by=("pipeline", "version", "outcome"),
    )


def _last(found: Mapping[str, Stored]) -> Iterator[Metric]:
    last = {name: one.total.last for name, one in found.items() if one.total.last is not None}
    manifests = {name: one.manifest for name, one in found.items() if one.manifest is not None}
    yield gauge(
        "last_scored_timestamp_seconds",
        "When the scoring of the last batch began.",
        (([name], seconds(one.scored_at)) for name, one in last.items()),
    )
    yield gauge(
        "last_batch_records",
        "Records of the batch scored last, by what became of them.",
        (
            ([name, outcome], count)
            for name, one in last.items()
            for outcome, count in _outcomes(one.scored, one.flagged, one.quarantined)
        ),
        by=("pipeline", "outcome"),
    )
    yield gauge(
        "last_batch_flag_ratio",
        "Share of the scored records of the last batch that was flagged.",
        (([name], one.flagged / one.scored if one.scored else None) for name, one in last.items()),
    )
    yield gauge(
        "last_batch_flag_ratio_asked",
        "Share of ordinary records that may be flagged, under policies that promise one (false_alarm_rate).",
        (([name], _asked(one)) for name, one in last.items()),
    )
    yield gauge(
        "last_batch_manifest_up",
        "1 where the manifest of the last batch, which times and p-values come from, could be read here.",
        (([name], name in manifests) for name in last),
    )
    yield gauge(
        "last_batch_scoring_seconds",
        "How long the last batch took to be read, scored and written.",
        (([name], one.seconds) for name, one in manifests.items()),
    )
    p_values = GaugeHistogramMetricFamily(
        "flowguard_last_batch_p_value",
        "p-values of the scored records of the last batch; of ordinary records a share a has one of a or less.",
        labels=["pipeline"],
    )
    for name, manifest in manifests.items():
        if manifest.p_values is not None:
            levels = [(str(float(level)), float(count)) for level, count in manifest.p_values.up_to.items()]
            p_values.add_metric([name], [*levels, ("+Inf", float(manifest.scored))], manifest.p_values.sum)
    yield p_values


def _drift(found: Mapping[str, Stored]) -> Iterator[Metric]:
    versions = [(name, str(v), one) for name, each in found.items() for v, one in each.total.observed.items()]
    yield gauge(
        "drift_batches",
        "Batches whose drift was looked at, by whether they raised an alarm (alarm=\"true\").",
        (
            ([name, version, alarm], count)
            for name, version, one in versions
            for alarm, count in (("true", one.alarmed), ("false", one.batches - one.alarmed))
        ),
        by=("pipeline", "version", "alarm"),
    )  # fmt: skip
    yield gauge(
        "drift_last_alarm_timestamp_seconds",
        "When a batch raised an alarm last.",
        (([name], seconds(one.total.alarmed_at)) for name, one in found.items()),
    )
    drift = {name: one.drift for name, one in found.items() if one.drift is not None}
    yield gauge(
        "last_batch_drift_alarms",
        "Channels (columns, scores, groups) that raised an alarm with the last batch.",
        (([name], len(one.alarms)) for name, one in drift.items()),
    )
    yield gauge(
        "last_batch_drift_evidence_ratio",
        "The strongest evidence of drift gathered up to the last batch, as a share of what raises an alarm.",
        (([name], one.odds) for name, one in drift.items()),
    )
    yield gauge(
        "last_batch_drift_p_value",
        "p-value of the last batch as a whole: small where it is odd among earlier ones.",
        (([name], one.p_value) for name, one in drift.items()),
    )


def _queue(found: Mapping[str, Total]) -> Iterator[Metric]:
    yield gauge(
        "queue_records",
        "Flagged records in the desk's queue: open, decided as confirmed, false_alarm or unsure, or suppressed by a "
        "rule.",
        (
            ([name, state], getattr(one.queue, state))
            for name, one in found.items()
            for state in ("open", *DECISIONS, "suppressed")
        ),
        by=("pipeline", "state"),
    )
    yield gauge(
        "queue_drawn_records",
        "Unflagged records drawn at random for review, open or decided.",
        (
            ([name, state], count)
            for name, one in found.items()
            for state, count in (
                ("open", one.queue.drawn_open),
                ("decided", one.queue.drawn - one.queue.drawn_open),
            )
        ),
        by=("pipeline", "state"),
    )
    yield gauge(
        "queue_open_since_timestamp_seconds",
        "When the oldest batch with an open flagged record was scored; absent where none is open.",
        (([name], seconds(one.open_since)) for name, one in found.items()),
    )
    yield counter(
        "verdicts",
        "Entries in the journal of verdicts, by decision; undone takes one back.",
        (
            ([name, decision], one.verdicts.get(decision, 0))
            for name, one in found.items()
            for decision in (*DECISIONS, "undone")
        ),
        by=("pipeline", "decision"),
    )
    yield gauge("rules", "Rules that count now.", (([name], one.rules) for name, one in found.items()))
    yield gauge(
        "champion_promoted_timestamp_seconds",
        "When the champion was last changed, by the journal of aliases.",
        (([name], seconds(one.promoted_at)) for name, one in found.items()),
    )


@lru_cache(maxsize=100)
def _complain(words: str) -> None:
    """Once."""
    LOG.warning("%s", words)


def _outcomes(scored: int, flagged: int, quarantined: int) -> tuple[tuple[str, int], ...]:
    return ("ordinary", scored - flagged), ("flagged", flagged), ("quarantined", quarantined)


def _asked(batch: ScoredBatch) -> float | None:
    rate = batch.policy.get("false_alarm_rate")
    return None if rate is None else float(rate)
