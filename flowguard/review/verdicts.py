"""Deciding on records: one, a whole case, and taking back, which is an entry that restores what stood before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowguard.errors import InputError
from flowguard.store import Decision, Verdict, Verdicts


@dataclass(frozen=True)
class Judged:
    """A record as a version scored it, which is what is decided on; `audited`: drawn at random from the unflagged."""

    record_id: str
    batch: str
    version: int
    score: float
    p_value: float
    flagged: bool
    audited: bool = False


def decide(
    verdicts: Verdicts,
    pipeline: str,
    record: Judged,
    decision: Decision,
    *,
    who: str,
    note: str = "",
    seen: int | None,
) -> Verdict:
    """Decide on one record; `seen` is the id of its latest entry that the decider saw, None where there was none.

    Raises `StoreError`, which names who was faster, when there is another one by now.

    >>> import tempfile
    >>> from flowguard.store import Store
    >>> odd = Judged("00ff", "monday", 1, score=9.1, p_value=0.001, flagged=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     verdicts = Store.open(f"sqlite:///{folder}/flowguard.db").verdicts
    ...     first = decide(verdicts, "meters", odd, "confirmed", who="ada", seen=None)
    ...     second = decide(verdicts, "meters", odd, "false_alarm", who="bob", seen=first.id)
    ...     undo(verdicts, "meters", "00ff", who="bob", seen=second.id).decision
    'confirmed'
    """
    return verdicts.put(_entry(pipeline, record, decision, who=who, note=note), seen=seen)


def decide_case(
    verdicts: Verdicts,
    pipeline: str,
    records: Sequence[Judged],
    decision: Decision,
    *,
    case_id: str,
    who: str,
    note: str = "",
    seen: Mapping[str, int | None],
) -> list[Verdict]:
    """Decide on all records of a case, or on none when somebody decided on one of them in the meantime."""
    entries = [_entry(pipeline, record, decision, who=who, note=note, case_id=case_id) for record in records]
    return verdicts.put_all(entries, seen=seen)


def standing(history: Sequence[Verdict]) -> Verdict | None:
    """The entry whose decision stands after all of a record's entries: the last that was not taken back, or None.

    Entries that undo are resolved, so that undoing again goes a step further back, not forth.
    """
    stack = _stack(history)
    return stack[-1] if stack else None


def undo(
    verdicts: Verdicts, pipeline: str, record_id: str, *, who: str, note: str = "", seen: int | None = None
) -> Verdict:
    """Take back the decision that stands: a new entry, with the decision before it or None where there was none.

    Raises `InputError` where nothing is to be taken back, `StoreError` when another entry came after `seen`.
    """
    (entry,) = _undone(verdicts, pipeline, [record_id], who=who, note=note)
    return verdicts.put(entry, seen=seen)


def undo_case(
    verdicts: Verdicts, pipeline: str, case_id: str, *, who: str, note: str = "", seen: Mapping[str, int | None]
) -> list[Verdict]:
    """Take back, all or none, what was decided with this case and still stands; `seen` has records of the case alone.

    What somebody decided on one of its records since then is theirs, and is left as it is.
    """
    found = verdicts.histories(pipeline, seen)
    mine = [name for name, history in found.items() if (last := standing(history)) and last.case_id == case_id]
    if not mine:
        raise InputError(
            f"Nothing that was decided with the case {case_id} still stands: there is nothing to take back."
        )
    entries = _undone(verdicts, pipeline, mine, who=who, note=note, found=found)
    return verdicts.put_all(entries, seen={name: seen[name] for name in mine})


def _undone(
    verdicts: Verdicts,
    pipeline: str,
    record_ids: Sequence[str],
    *,
    who: str,
    note: str,
    found: Mapping[str, Sequence[Verdict]] | None = None,
) -> list[Verdict]:
    entries = []
    for record_id in record_ids:
        history = verdicts.history(pipeline, record_id) if found is None else found[record_id]
        stack = _stack(history)
        if not stack:
            raise InputError(
                f"Record {record_id} of {pipeline} has no verdict "
                + (f"any more: {history[-1]}. " if history else "yet. ")
                + "There is nothing to take back."
            )
        gone, before = stack[-1], stack[-2] if len(stack) > 1 else None
        entries.append(
            Verdict(
                pipeline=pipeline,
                # What the decision that stands again was made on; of what is taken back altogether, what that was.
                batch=(before or gone).batch,
                record_id=record_id,
                version=(before or gone).version,
                decision=None if before is None else before.decision,
                note=note or ("" if before is None else before.note),
                who=who,
                score=(before or gone).score,
                p_value=(before or gone).p_value,
                flagged=(before or gone).flagged,
                audited=(before or gone).audited,
                case_id=None if before is None else before.case_id,
                undoes=gone.id,
            )
        )
    return entries


def _stack(history: Sequence[Verdict]) -> list[Verdict]:
    """The decisions that were made and not taken back."""
    stack: list[Verdict] = []
    for entry in history:
        if entry.undoes is None:
            stack.append(entry)
        elif stack:
            stack.pop()
    return stack


def _entry(
    pipeline: str, record: Judged, decision: Decision, *, who: str, note: str, case_id: str | None = None
) -> Verdict:
    return Verdict(
        pipeline=pipeline,
        batch=record.batch,
        record_id=record.record_id,
        version=record.version,
        decision=decision,
        note=note,
        who=who,
        score=record.score,
        p_value=record.p_value,
        flagged=record.flagged,
        audited=record.audited,
        case_id=case_id,
    )
