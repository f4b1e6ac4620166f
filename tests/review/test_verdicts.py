"""Deciding and taking back: every step is an entry, and going back goes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.errors import InputError, StoreError
from flowguard.review import Judged, decide, decide_case, standing, undo, undo_case
from flowguard.store import Decision, Store, Verdict, Verdicts


@pytest.fixture
def verdicts(tmp_path: Path) -> Verdicts:
    return Store.open(f"sqlite:///{tmp_path / 'flowguard.db'}").verdicts


def judged(record_id: str = "one", version: int = 1) -> Judged:
    return Judged(record_id, "monday", version, score=9.0 + version, p_value=0.001, flagged=True)


def test_undoing_restores_step_by_step_and_is_itself_an_entry(verdicts: Verdicts) -> None:
    first = decide(verdicts, "meters", judged(), "confirmed", who="ada", note="a burst pipe", seen=None)
    second = decide(verdicts, "meters", judged(version=2), "false_alarm", who="bob", seen=first.id)
    third = undo(verdicts, "meters", "one", who="ada", seen=second.id)
    assert (third.decision, third.note, third.version, third.score) == ("confirmed", "a burst pipe", 1, 10.0)
    assert (third.who, third.undoes) == ("ada", second.id)
    fourth = undo(verdicts, "meters", "one", who="ada", note="too early to say", seen=third.id)
    assert (fourth.decision, fourth.undoes, fourth.note) == (None, first.id, "too early to say")
    with pytest.raises(InputError, match=r"no verdict any more: ada took it back on .*nothing to take back"):
        undo(verdicts, "meters", "one", who="ada", seen=fourth.id)
    fifth = decide(verdicts, "meters", judged(), "unsure", who="ada", seen=fourth.id)
    history = verdicts.history("meters", "one")
    assert history == [first, second, third, fourth, fifth]
    assert standing(history) == fifth
    with pytest.raises(InputError, match="no verdict yet"):
        undo(verdicts, "meters", "two", who="ada")


def test_undoing_what_one_has_not_seen_is_refused(verdicts: Verdicts) -> None:
    first = decide(verdicts, "meters", judged(), "confirmed", who="ada", seen=None)
    decide(verdicts, "meters", judged(), "false_alarm", who="bob", seen=first.id)
    with pytest.raises(StoreError, match="bob decided false alarm"):
        undo(verdicts, "meters", "one", who="ada", seen=first.id)
    assert len(verdicts.history("meters", "one")) == 2


@given(st.lists(st.sampled_from(["confirmed", "false_alarm", "unsure", "undo"]), max_size=12))
def test_what_stands_is_what_a_stack_of_decisions_says(steps: list[str]) -> None:
    """Replayed without a store; the last entry's decision is always the one that stands."""
    history: list[Verdict] = []
    stack: list[str] = []
    for number, step in enumerate(steps, start=1):
        if step == "undo":
            if not stack:
                continue
            stack.pop()
        else:
            stack.append(step)
        said: Decision | None = stack[-1] if stack else None  # type: ignore[assignment]
        undoes = None if step != "undo" else 1
        history.append(Verdict("meters", "a", "one", 1, said, "", "ada", 1.0, 0.1, True, undoes=undoes, id=number))
    found = standing(history)
    assert (found.decision if found else None) == (stack[-1] if stack else None)
    assert not history or history[-1].decision == (found.decision if found else None)


def test_a_case_is_decided_and_taken_back_whole_but_for_what_others_decided_since(verdicts: Verdicts) -> None:
    records = [judged(name) for name in ("one", "two", "three")]
    before = decide(verdicts, "meters", records[0], "false_alarm", who="bob", seen=None)
    with pytest.raises(StoreError, match="1 of the 3 records"):
        decide_case(verdicts, "meters", records, "confirmed", case_id="c", who="ada", seen={})
    made = decide_case(verdicts, "meters", records, "confirmed", case_id="c", who="ada", seen={"one": before.id})
    assert {one.case_id for one in made} == {"c"}
    later = decide(verdicts, "meters", records[2], "unsure", who="bob", seen=made[2].id)
    seen = {one.record_id: one.id for one in (*made[:2], later)}
    with pytest.raises(StoreError, match="have not seen"):
        undo_case(verdicts, "meters", "c", who="ada", seen={**seen, "two": 1})
    gone = undo_case(verdicts, "meters", "c", who="ada", seen=seen)
    assert [(one.record_id, one.decision) for one in gone] == [("one", "false_alarm"), ("two", None)]
    assert verdicts.latest("meters")["three"] == later
    with pytest.raises(InputError, match="nothing to take back"):
        undo_case(verdicts, "meters", "c", who="ada", seen=seen)
