"""Verdicts on whole cases: all records of one cause decided at once, or none, and taken back as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flowguard import review
from flowguard.errors import InputError
from flowguard.review import Judged, Quality
from flowguard.stages.cases import cases
from flowguard.stages.models import qualities
from flowguard.stages.verdicts import log_qualities, user_here
from flowguard.stages.workspace import Workspace
from flowguard.store import Decision, Verdict


@dataclass(frozen=True)
class DecidedCase:
    """The entries that were stored, one for each record, and what all verdicts say now of the versions that said them.

    `logged` has the versions whose estimates were written to the registry; `notes` are sentences on what could not be.
    """

    case_id: str
    entries: tuple[Verdict, ...]
    qualities: tuple[Quality, ...]
    logged: tuple[int, ...]
    notes: tuple[str, ...]


def decide_case(
    pipeline: str | Path,
    case_id: str,
    decision: Decision,
    *,
    note: str = "",
    who: str = "",
    seen: int | None = None,
    batch: str | None = None,
) -> DecidedCase:
    """Decide on all records of a case, of every batch or of one; `seen` is the last entry of others that was read.

    Raises `InputError` for a case that there is not, `StoreError` when somebody else decided on one of its records and
    that was not seen: then nothing is written.
    """
    found = cases(pipeline, batch=batch)
    case = found.find(case_id)
    workspace = Workspace.open(pipeline)
    name, verdicts = workspace.pipeline.name, workspace.store.verdicts
    # A key that came in two batches is one record; the stranger of its two deliveries comes first.
    members = {member.record_id: member for member in reversed(case.records)}
    records = [
        Judged(one.record_id, one.batch, one.version, one.score, one.p_value, flagged=True)
        for one in (found.records[member] for member in members.values())
    ]
    who = who or user_here()
    last = verdicts.latest(name, members)
    known = _seen(last.values(), who, seen)
    entries = review.decide_case(verdicts, name, records, decision, case_id=case_id, who=who, note=note, seen=known)
    return _done(workspace, case_id, entries, again=bool(last))


def undo_case(
    pipeline: str | Path,
    case_id: str,
    *,
    note: str = "",
    who: str = "",
    seen: int | None = None,
    batch: str | None = None,
) -> DecidedCase:
    """Take back what was decided with a case, in every batch or in one, and still stands.

    What was decided on one of its records since is left.

    Raises `InputError` where there is nothing to take back, `StoreError` as `decide_case` does.
    """
    workspace = Workspace.open(pipeline)
    name, verdicts = workspace.pipeline.name, workspace.store.verdicts
    last = [entry for entry in verdicts.of(name) if entry.case_id == case_id and batch in (None, entry.batch)]
    if not last:
        raise InputError(f"Nothing decided with the case {case_id} still stands: there is nothing to take back.")
    who = who or user_here()
    known = {entry.record_id: None for entry in last} | _seen(last, who, seen)
    entries = review.undo_case(verdicts, name, case_id, who=who, note=note, seen=known)
    return _done(workspace, case_id, entries, again=True)


def _seen(last: Iterable[Verdict], who: str, seen: int | None) -> dict[str, int | None]:
    """Of the records' last entries those that the decider knows: one's own, those before `seen`, those taken back."""
    return {
        entry.record_id: entry.id
        for entry in last
        if entry.who == who or entry.decision is None or entry.id <= (seen or 0)
    }


def _done(workspace: Workspace, case_id: str, entries: list[Verdict], *, again: bool) -> DecidedCase:
    known = qualities(workspace.store, workspace.pipeline.name)
    logged, notes = log_qualities(workspace, entries, known, again=again)
    versions = sorted({entry.version for entry in entries}, reverse=True)
    return DecidedCase(case_id, tuple(entries), tuple(known[version] for version in versions), logged, notes)
