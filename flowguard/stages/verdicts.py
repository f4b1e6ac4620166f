"""Verdicts of a pipeline: deciding on a record by its key, taking back, and what all of them say of the versions."""

from __future__ import annotations

import getpass
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from flowguard import review
from flowguard.errors import FlowguardError, InputError
from flowguard.review import AUDITED, ENOUGH, Judged, Quality
from flowguard.stages.audit import drawn_ids
from flowguard.stages.lookup import Found
from flowguard.stages.manifest import manifest_path, read_manifest
from flowguard.stages.models import qualities
from flowguard.stages.outcome import outcome_of, search
from flowguard.stages.workspace import Workspace
from flowguard.store import Decision, Verdict

WORDS: dict[str, Decision] = {"confirmed": "confirmed", "false-alarm": "false_alarm", "unsure": "unsure"}
"""The decisions as people type them."""

_LISTED = 5


@dataclass(frozen=True)
class Decided:
    """An entry that was stored, on the record with this key, and the entry before it.

    `quality` is what all verdicts now say of the version whose word was judged. `logged` has the versions whose
    estimates were written to the registry; `notes` are sentences on what could not be.
    """

    entry: Verdict
    before: Verdict | None
    key: dict[str, Any]
    quality: Quality
    logged: tuple[int, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """A verdict that stands with its record's key, empty where the files of its batch are gone."""

    key: dict[str, Any]
    verdict: Verdict


@dataclass(frozen=True)
class VerdictList:
    """The newest of `total` verdicts that stand, newest first, and what all say of each version, newest first."""

    key: tuple[str, ...]
    total: int
    records: tuple[Listed, ...]
    qualities: tuple[Quality, ...]


def decide(
    pipeline: str | Path,
    key: str,
    decision: Decision,
    *,
    note: str = "",
    who: str = "",
    seen: int | None = None,
    batch: str | None = None,
    version: str | int | None = None,
    audit: int = AUDITED,
) -> Decided:
    """Decide on the one record that `key` names, as the version said it that scored its batch last, or `version`.

    One's own verdict is followed by a new one at will; to decide after somebody else's, `seen` is its entry's id: one
    has read it. `who` is by default the user of this process. `audit` is how many unflagged records of a batch are
    drawn at random.

    Raises `InputError` when no record or several match, or when it was quarantined, and `StoreError`, which names who
    decided what and when, when there is a verdict that was not seen.
    """
    workspace = Workspace.open(pipeline)
    one, shown = _one(workspace, key, str(pipeline), batch=batch, version=version)
    outcome = outcome_of(one, shown)
    if outcome.score is None or outcome.p_value is None:
        raise InputError(
            f"Record {outcome.record_id} was quarantined in batch {outcome.batch} ({outcome.refused}): it has no "
            "score, so that there is nothing to decide on. Correct it in the source and score the batch again."
        )
    flagged = outcome.state == "flagged"
    record = Judged(
        record_id=outcome.record_id,
        batch=outcome.batch,
        version=outcome.version,
        score=outcome.score,
        p_value=outcome.p_value,
        flagged=flagged,
        audited=not flagged and outcome.record_id in drawn_ids(workspace, one.manifest, audit),
    )
    name, verdicts = workspace.pipeline.name, workspace.store.verdicts
    who = who or user_here()
    before = verdicts.latest(name, [record.record_id]).get(record.record_id)
    entry = review.decide(verdicts, name, record, decision, who=who, note=note, seen=_seen(before, who, seen))
    return _done(workspace, entry, before, outcome.key)


def undo(
    pipeline: str | Path,
    key: str,
    *,
    note: str = "",
    who: str = "",
    seen: int | None = None,
    batch: str | None = None,
) -> Decided:
    """Take back the decision that stands on the record: what was decided before it stands again.

    Raises as `decide` does, and `InputError` when there is nothing to take back.
    """
    workspace = Workspace.open(pipeline)
    one, shown = _one(workspace, key, str(pipeline), batch=batch, version=None)
    name, verdicts = workspace.pipeline.name, workspace.store.verdicts
    who = who or user_here()
    before = verdicts.latest(name, [one.record_id]).get(one.record_id)
    entry = review.undo(verdicts, name, one.record_id, who=who, note=note, seen=_seen(before, who, seen))
    return _done(workspace, entry, before, outcome_of(one, shown).key)


def listed(pipeline: str | Path, *, batch: str | None = None, top: int | None = None) -> VerdictList:
    """The verdicts that stand, newest first, and the precision and missed rate of every version by all of them."""
    workspace = Workspace.open(pipeline)
    source = workspace.pipeline.source
    key = tuple(name for name in source.key if name not in source.redact)
    standing = workspace.store.verdicts.of(workspace.pipeline.name)
    mine = [entry for entry in reversed(standing) if batch in (None, entry.batch)]
    shown = mine if top is None else mine[:top]
    keys = _keys(workspace, shown, key)
    return VerdictList(
        key=key,
        total=len(mine),
        records=tuple(Listed(keys.get(entry.id, dict.fromkeys(key)), entry) for entry in shown),
        qualities=tuple(qualities(workspace.store, workspace.pipeline.name).values()),
    )


def _one(
    workspace: Workspace, key: str, file: str, *, batch: str | None, version: str | int | None
) -> tuple[Found, tuple[str, ...]]:
    """The one record that matches, and the key columns that may be shown."""
    searched = search(workspace, key, file, batch=batch, version=version, most=_LISTED)
    if searched.total > 1:
        told = "; ".join(
            " ".join([*(f"{name}={value}" for name, value in outcome_of(one, searched.shown).key.items())])
            + f" (batch {one.manifest.batch}, record_id {one.record_id})"
            for one in searched.found
        )
        raise InputError(
            f"{searched.total:,} records match, and a verdict is on one: {told}"
            f"{'; ...' if searched.total > len(searched.found) else '.'} "
            "Name more of the key, the batch with --batch, or the record_id."
        )
    return searched.found[0], searched.shown


def _seen(before: Verdict | None, who: str, seen: int | None) -> int | None:
    """What the decider has seen: what they named, else their own last entry, or one that no longer decides anything."""
    if seen is not None or before is None:
        return seen
    return before.id if before.who == who or before.decision is None else None


def user_here() -> str:
    """The name of this process's user; `InputError` where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        raise InputError("This user has no name, and a verdict must say who decided. Give one with --who.") from None


def _done(workspace: Workspace, entry: Verdict, before: Verdict | None, key: dict[str, Any]) -> Decided:
    known = qualities(workspace.store, entry.pipeline)
    logged, notes = log_qualities(workspace, [entry], known, again=before is not None)
    return Decided(entry, before, key, known[entry.version], logged, notes)


def log_qualities(
    workspace: Workspace, entries: Sequence[Verdict], known: Mapping[int, Quality], *, again: bool
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Write the estimates to the registry of every version that new `entries` bear on, where there are enough verdicts.

    Returns the versions written, and sentences on those that could not be: the entries are stored all the same.
    `again`: there were entries on these records before, so that there may be fewer verdicts now and what was written
    has to be taken down.
    """
    histories = workspace.store.verdicts.histories(workspace.pipeline.name, (entry.record_id for entry in entries))
    logged: list[int] = []
    notes: list[str] = []
    for version in sorted({one.version for history in histories.values() for one in history}):
        shares = (known[version].precision, known[version].missed)
        if any(share.enough or (again and share.decided + len(entries) >= ENOUGH) for share in shares):
            try:
                log_quality(workspace, known[version])
                logged.append(version)
            except FlowguardError as error:
                notes.append(f"The verdict is stored, but the estimate of version {version} was not logged: {error}")
    return tuple(logged), tuple(notes)


def log_quality(workspace: Workspace, known: Quality) -> None:
    """Write what verdicts say of a version to the registry: metrics by the number of verdicts, and tags in words."""
    metrics: dict[str, float] = {}
    tags: dict[str, str | None] = {}
    for name, share in (("review_precision", known.precision), ("review_missed_rate", known.missed)):
        tags[name] = f"{share}, {share.decided} decided" if share.enough else None
        if share.enough and share.estimate is not None and share.low is not None and share.high is not None:
            metrics |= {name: share.estimate, f"{name}_low": share.low, f"{name}_high": share.high}
            metrics[f"{name}_decided"] = share.decided
    ranking = known.auroc
    tags["review_auroc"] = f"{ranking}, {ranking.decided} decided" if ranking.enough else None
    if ranking.enough and ranking.estimate is not None and ranking.low is not None and ranking.high is not None:
        metrics |= {
            "review_auroc": ranking.estimate,
            "review_auroc_low": ranking.low,
            "review_auroc_high": ranking.high,
        }
        metrics["review_auroc_decided"] = ranking.decided
    registry = workspace.registry
    version = registry.resolve(workspace.pipeline.name, known.version)
    registry.note(version, metrics=metrics, step=known.precision.decided + known.missed.decided, tags=tags)


def _keys(workspace: Workspace, entries: Iterable[Verdict], key: tuple[str, ...]) -> Mapping[int, dict[str, Any]]:
    """The keys of the records that entries are on, by the entry's id, from the scores they were decided on."""
    found: dict[int, dict[str, Any]] = {}
    parts: dict[tuple[str, int], list[Verdict]] = defaultdict(list)
    for entry in entries:
        parts[entry.batch, entry.version].append(entry)
    for (batch, version), mine in parts.items():
        manifest = read_manifest(manifest_path(workspace.folder, batch, version))
        if manifest is None or "scores" not in manifest.files:
            continue
        path = workspace.folder / manifest.files["scores"]
        if not path.exists():
            continue
        columns = ["record_id", *(name for name in key if name in set(pq.read_schema(path).names))]
        test = pc.field("record_id").isin([entry.record_id for entry in mine])
        rows = pq.read_table(path, columns=columns, filters=test, partitioning=None).to_pylist()
        by_id = {row["record_id"]: {name: row.get(name) for name in key} for row in rows}
        found.update((entry.id, by_id[entry.record_id]) for entry in mine if entry.record_id in by_id)
    return found
