"""Rules from the making to what is shown: nothing out of scope is touched, and no flag or file is changed."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flowguard.errors import InputError
from flowguard.review import Scope
from flowguard.stages import rules
from flowguard.stages.cases import cases
from flowguard.stages.enqueue import enqueue
from flowguard.stages.flagged import flagged
from flowguard.stages.manifest import latest
from flowguard.stages.models import reviewed
from flowguard.stages.report import report
from flowguard.stages.score import score
from flowguard.stages.verdicts import decide
from flowguard.stages.workspace import Workspace
from flowguard.store import Wanted
from tests.stages.test_why import LIKE, ODD, odd_batch

HIGH = {"power": {"is": "above"}, "flow": {}}


@pytest.fixture(scope="module")
def scored(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules") / "project"
    shutil.copytree(trained_project, folder)
    pq.write_table(odd_batch(), folder / "data/odd.parquet")
    score(folder / "pipelines/meters.yaml")
    return folder


@pytest.fixture
def path(scored: Path, tmp_path: Path) -> Path:
    shutil.copytree(scored, tmp_path / "project")
    return tmp_path / "project/pipelines/meters.yaml"


def scope(columns: Any = HIGH, **where: Any) -> Scope:
    return Scope.read({"columns": columns, "where": where})


def shown(path: Path, **options: Any) -> set[int]:
    return {record.key["id"] for record in flagged(path, batch="odd", top=None, **options).records}


def site_of(id: int) -> str:
    return str(odd_batch()["site"][id - 9_000_000].as_py())


def test_a_rule_counts_for_batches_scored_from_then_on_and_changes_no_flag_or_file(path: Path) -> None:
    before = flagged(path, top=None)
    files = {file: file.read_bytes() for file in (path.parents[1] / "runs/meters/scores").rglob("*.parquet")}
    made = rules.make(path, scope(id=[ODD]), why="a test rig", who="ada")
    assert (made.rule.id, made.rule.who, made.rule.scope) == (1, "ada", scope(id=[ODD]).document)
    assert made.rule.expires_at - made.rule.made_at == timedelta(days=90)
    assert (made.preview.covered, made.preview.of, made.preview.batches) == (1, {"odd": 1}, 4)
    assert made.preview.flagged == before.total
    assert flagged(path, top=None) == before, "batches that were scored before are told as before"
    score(path, batch="odd", force=True)
    after = flagged(path, top=None)
    assert (after.total, after.suppressed) == (before.total, {1: 1})
    assert {one.record_id for one in before.records} - {one.record_id for one in after.records} == {
        flagged(path, suppressed=True).records[0].record_id
    }
    (kept,) = flagged(path, suppressed=True).records
    assert (kept.key["id"], kept.rule, kept.row()["rule"]) == (ODD, 1, 1)
    assert LIKE in shown(path)
    assert {file: file.read_bytes() for file in files} == files
    manifest = latest(Workspace.open(path).folder)["odd"]
    assert manifest.flagged == len(shown(path)) + 1


def test_conditions_on_columns_that_no_file_of_scores_has_are_looked_up_in_the_source(path: Path) -> None:
    rules.make(path, scope(site=["north"]), why="the north is rebuilt", who="ada")
    rules.make(path, scope(site=["south"], hour={"at_least": 0, "at_most": 23}), why="the south is too", who="ada")
    score(path, batch="odd", force=True)
    number = {"north": 1, "south": 2}
    by_rule = {one.key["id"]: one.rule for one in flagged(path, batch="odd", top=None, suppressed=True).records}
    assert {ODD, LIKE} <= set(by_rule)
    assert by_rule == {id: number[site_of(id)] for id in by_rule}
    shutil.move(path.parents[1] / "data/odd.parquet", path.parents[1] / "odd.parquet")
    assert {ODD, LIKE} <= shown(path), "what the source no longer tells is no ground to hide a record"


def test_without_a_key_records_are_known_by_their_content(path: Path) -> None:
    path.write_text(path.read_text().replace("  key: [id]\n", ""))
    rules.make(path, scope(site=["north", "south"]), why="both", who="ada")
    score(path, batch="odd", force=True)
    kept = flagged(path, batch="odd", top=None, suppressed=True).records
    assert {400.0, 300.0} <= {one.reasons[0].observed for one in kept}


def test_what_is_stranger_than_the_bound_or_has_another_oddity_is_told(path: Path) -> None:
    rules.make(path, scope({"power": {"is": "above", "at_most": 350}, "flow": {}}), why="a test rig", who="ada")
    score(path, batch="odd", force=True)
    assert ODD in shown(path), "400 kW are beyond the bound"
    assert LIKE in shown(path, suppressed=True)
    assert rules.preview(path, scope({"flow": {}})).covered < rules.preview(path, scope()).covered


def test_expired_and_revoked_rules_no_longer_count_for_what_is_scored(path: Path) -> None:
    rules.make(path, scope(id=[ODD]), why="a test rig", who="ada", lasts=timedelta(microseconds=1))
    rules.make(path, scope(id=[LIKE]), why="a test rig", who="ada")
    score(path, batch="odd", force=True)
    assert shown(path, suppressed=True) == {LIKE}
    gone = rules.revoke(path, 2, who="bob")
    assert (gone.state, gone.rule.revoked_by) == ("revoked", "bob")
    assert shown(path, suppressed=True) == {LIKE}, "of a batch that was scored while it counted"
    score(path, batch="odd", force=True)
    assert shown(path, suppressed=True) == set()
    assert [one.state for one in rules.listed(path)] == ["revoked", "expired"]
    with pytest.raises(InputError, match="was revoked by bob"):
        rules.revoke(path, 2, who="ada")


def test_the_audit_tells_what_each_rule_kept_away_and_whether_it_was_an_anomaly(path: Path) -> None:
    first = rules.make(path, scope(id=[ODD]), why="a test rig", who="ada").rule
    rules.make(path, scope(id=[ODD, LIKE]), why="more of it", who="ada")
    score(path, batch="odd", force=True)
    decide(path, str(ODD), "confirmed", who="bob")
    found = rules.audit(path)
    assert [(one.rule, one.total, one.of, one.decided) for one in found.rules] == [
        (first, 1, {"odd": 1}, {"confirmed": 1}),
        (found.rules[1].rule, 1, {"odd": 1}, {}),
    ]
    assert {one.key["id"]: (one.rule, one.verdict) for one in found.records} == {ODD: (1, "confirmed"), LIKE: (2, None)}
    assert [one.key["id"] for one in rules.audit(path, rule=2).records] == [LIKE]
    assert rules.preview(path, scope(id=[ODD])).decided == {"confirmed": 1}
    assert reviewed(path.parents[1] / "runs", "meters")[1].precision.decided == 1, "verdicts count as ever"
    with pytest.raises(InputError, match="has no rule 3: there are rules 1 to 2"):
        rules.audit(path, rule=3)


def test_cases_and_pages_leave_out_what_a_rule_keeps_away_and_say_so(path: Path) -> None:
    rules.make(path, scope(id=[ODD, LIKE]), why="a test rig", who="ada")
    score(path, batch="odd", force=True)
    found = cases(path, batch="odd")
    assert found.suppressed == {1: 2}
    assert found.grouped == found.total - 2
    assert not {ODD, LIKE} & {one.key["id"] for one in found.records.values()}
    pages = {page.stem: page.read_text(encoding="utf-8") for page in report(path).pages}
    sentence = "2 flagged records are not shown, by rules that say they are ordinary: 2 by rule 1."
    assert [name for name, text in pages.items() if sentence in text] == ["batch-odd"]
    assert sentence in report(path).run.read_text(encoding="utf-8")


def test_the_queue_of_the_desk_knows_which_rule_keeps_a_record_away(path: Path) -> None:
    assert enqueue(path, batches=["odd"]).batches == ("odd",)
    rules.make(path, scope(id=[ODD], site=[site_of(ODD)]), why="a test rig", who="ada")
    assert enqueue(path, batches=["odd"]).batches == ()
    score(path, batch="odd", force=True)
    assert enqueue(path, batches=["odd"]).batches == ("odd",), "what was scored again is queued anew"
    queue = Workspace.open(path).store.queue
    (kept,) = queue.records("meters", Wanted(batch="odd", kind="suppressed"), most=10)
    assert (kept.document["key"], kept.rule) == ({"id": ODD}, 1)
    left = {one.document["key"]["id"] for one in queue.records("meters", Wanted(batch="odd"), most=100)}
    assert left == shown(path)


@pytest.mark.parametrize(
    ("columns", "where", "words"),
    [
        ({"powr": {}}, {}, r"'powr' is not a feature of meters.* Did you mean power\?"),
        ({"site": {}}, {}, "'site' is not a feature of meters"),
        ({"power": {}}, {"sight": ["north"]}, r"'sight' is not a column of meters.* Did you mean site\?"),
    ],
)
def test_columns_that_are_not_there_are_refused(path: Path, columns: Any, where: Any, words: str) -> None:
    for look in (rules.preview, lambda *its: rules.make(*its, why="it is ordinary", who="ada")):
        with pytest.raises(InputError, match=words):
            look(path, scope(columns, **where))
    assert rules.listed(path) == ()


def test_values_of_redacted_columns_are_in_no_rule(path: Path) -> None:
    path.write_text(path.read_text().replace("key: [id]", "key: [id]\n  redact: [id]"))
    with pytest.raises(InputError, match="id is redacted: a rule would tell its values"):
        rules.make(path, scope({"flow": {}}, id=[ODD]), why="x", who="ada")
