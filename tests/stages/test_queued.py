"""What the queue holds of records, and the rules that bear on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flowguard.explain.words import redacted_reason
from flowguard.review import Scope
from flowguard.stages import rules
from flowguard.stages.enqueue import enqueue
from flowguard.stages.flagged import flagged
from flowguard.stages.queued import apply_rules, covered, reasons_of, values_of
from flowguard.stages.score import score
from flowguard.stages.workspace import Workspace
from flowguard.store import Wanted
from tests.review.web.room_sample import scored_project
from tests.stages.test_why import ODD

HIGH = {"power": {"is": "above"}, "flow": {}}


@pytest.fixture
def path(trained_project: Path, tmp_path: Path) -> Path:
    return scored_project(trained_project, tmp_path / "project")


def test_the_queue_covers_what_the_files_do(path: Path) -> None:
    workspace = Workspace.open(path)
    for scope in (
        Scope.read({"columns": HIGH}),
        Scope.read({"columns": {"flow": {}}}),
        Scope.read({"columns": HIGH, "where": {"id": [ODD]}}),
        Scope.read({"columns": HIGH, "where": {"site": ["north"]}}),
    ):
        seen = rules.preview(path, scope, batches=100)
        found = covered(workspace, scope)
        assert (found.records, found.batches) == (seen.covered, len(seen.of)), scope.words
        assert found.all
        assert found.open == found.records
    assert covered(workspace, Scope.read({"columns": HIGH, "where": {"id": [ODD]}})).records == 1


def test_only_the_newest_are_looked_at_where_there_are_many(path: Path) -> None:
    found = covered(Workspace.open(path), Scope.read({"columns": {"power": {}, "flow": {}}}), most=2)
    assert not found.all
    assert found.records <= 2


def test_records_are_read_back_as_they_were_queued(path: Path) -> None:
    told = {one.record_id: one for one in flagged(path, batch="odd", top=None).records}
    records = Workspace.open(path).store.queue.records("meters", Wanted(batch="odd"), most=100)
    assert {one.record_id for one in records} == set(told)
    for one in records:
        assert [(r.column, r.words, r.rank) for r in reasons_of(one)] == [
            (r.column, r.words, r.rank) for r in told[one.record_id].reasons
        ]
        assert values_of(one)["id"] == told[one.record_id].key["id"]


def test_rules_are_applied_anew_as_they_counted_when_the_batch_was_scored(path: Path) -> None:
    queue = Workspace.open(path).store.queue
    made = rules.make(path, Scope.read({"columns": HIGH, "where": {"id": [ODD]}}), why="a rig", who="ada", batches=0)
    assert apply_rules(path) == 0, "the batch was scored before the rule was made"
    score(path, batch="odd", force=True)
    enqueue(path)
    (one,) = queue.records("meters", Wanted(batch="odd", kind="suppressed"), most=10)
    assert apply_rules(path) == 0, "as it was queued"
    queue.set_rules("meters", "odd", {one.record_id: None})
    assert apply_rules(path, since=made.rule.made_at + timedelta(days=1)) == 0
    assert apply_rules(path, since=made.rule.made_at) == 1
    assert queue.by_rule("meters") == {1: {"open": 1}}
    queue.set_rules("meters", "odd", {one.record_id: 7})
    assert apply_rules(path) == 1
    rules.revoke(path, 1, who="ada")
    assert apply_rules(path) == 0, "it counted when the batch was scored"
    assert queue.by_rule("meters") == {1: {"open": 1}}


def test_what_was_made_of_records_with_redacted_reasons_is_left_as_it_was(path: Path) -> None:
    queue = Workspace.open(path).store.queue
    rules.make(path, Scope.read({"columns": HIGH, "where": {"id": [ODD]}}), why="a rig", who="ada", batches=0)
    score(path, batch="odd", force=True)
    enqueue(path)
    batch = queue.batch("meters", "odd")
    (one,) = queue.records("meters", Wanted(batch="odd", kind="suppressed"), most=10)
    assert batch is not None
    hidden = [
        {**reason, "observed": None, "words": redacted_reason(reason["column"])} for reason in one.document["reasons"]
    ]
    queue.put(batch, [replace(one, document={**one.document, "reasons": hidden})], [])
    assert apply_rules(path) == 0
    assert queue.by_rule("meters") == {1: {"open": 1}}
