"""Verdicts by key: who decides after whom, taking back, the audit, and what reaches the registry."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from flowguard.cli.verdict import quality_lines
from flowguard.errors import FlowguardError, InputError, StoreError
from flowguard.review import Share
from flowguard.stages.audit import audit
from flowguard.stages.case_verdicts import decide_case, undo_case
from flowguard.stages.cases import cases
from flowguard.stages.flagged import flagged
from flowguard.stages.manifest import latest
from flowguard.stages.models import models, reviewed
from flowguard.stages.score import score
from flowguard.stages.verdicts import decide, listed, undo
from flowguard.stages.why import why
from flowguard.stages.workspace import Workspace
from flowguard.store import Verdict
from tests.stages.test_why import ODD, REFUSED, odd_batch

ORDINARY = 9_000_020


@pytest.fixture(scope="module")
def scored(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline with four scored batches; copied for each test."""
    folder = tmp_path_factory.mktemp("verdicts") / "project"
    shutil.copytree(trained_project, folder)
    pq.write_table(odd_batch(), folder / "data/odd.parquet")
    score(folder / "pipelines/meters.yaml")
    return folder


@pytest.fixture
def path(scored: Path, tmp_path: Path) -> Path:
    shutil.copytree(scored, tmp_path / "project")
    return tmp_path / "project/pipelines/meters.yaml"


def test_a_verdict_keeps_what_the_version_said_of_the_record(path: Path) -> None:
    done = decide(path, f"id={ODD}", "confirmed", note="a burst pipe", who="ada")
    record = why(path, str(ODD), near=0).record
    assert record is not None
    entry = done.entry
    assert (entry.record_id, entry.batch, entry.version) == (record.outcome.record_id, "odd", 1)
    assert (entry.score, entry.p_value, entry.flagged) == (record.outcome.score, record.outcome.p_value, True)
    assert (done.before, done.key, done.logged, done.notes) == (None, {"id": ODD}, (), ())
    assert record.verdicts == (entry,)
    assert (done.quality.precision.decided, done.quality.precision.anomalies) == (1, 1)
    shown = {one.key["id"]: one.verdict for one in flagged(path, batch="odd", top=None).records}
    assert shown.pop(ODD) == "confirmed"
    assert set(shown.values()) == {None}


def test_after_somebody_elses_verdict_one_has_to_say_that_one_has_read_it(path: Path) -> None:
    first = decide(path, str(ODD), "false_alarm", note="a meter was changed", who="bob").entry
    for late in (lambda: decide(path, str(ODD), "confirmed", who="ada"), lambda: undo(path, str(ODD), who="ada")):
        with pytest.raises(StoreError, match=r"bob decided false alarm .* \(a meter was changed\).*--seen 1"):
            late()
    second = decide(path, str(ODD), "confirmed", who="ada", seen=first.id).entry
    third = decide(path, str(ODD), "unsure", who="ada").entry
    back = undo(path, str(ODD), who="ada")
    assert (back.entry.decision, back.entry.undoes, back.before) == ("confirmed", third.id, third)
    assert undo(path, str(ODD), who="ada").entry.decision == "false_alarm", "what bob had decided stands again"
    last = undo(path, str(ODD), who="ada").entry
    assert last.decision is None
    assert decide(path, str(ODD), "confirmed", who="bob").before == last, "of what was taken back nothing is lost"
    record = why(path, str(ODD), near=0).record
    assert record is not None
    assert [one.id for one in record.verdicts] == [1, 2, 3, 4, 5, 6, 7]
    assert record.verdicts[1] == second


def test_what_cannot_be_decided_on_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match=r"was quarantined in batch odd \(power is infinite\)"):
        decide(path, str(REFUSED), "confirmed", who="ada")
    with pytest.raises(InputError, match="no scored record has id=77"):
        decide(path, "77777777", "confirmed", who="ada")
    with pytest.raises(InputError, match="nothing to take back"):
        undo(path, str(ODD), who="ada")
    with pytest.raises(InputError, match="has no verdict yet, so entry 3"):
        decide(path, str(ODD), "confirmed", who="ada", seen=3)
    path.write_text(path.read_text().replace("key: [id]", "key: [site, id]"))
    score(path, batch="odd", force=True)
    with pytest.raises(InputError, match=r"records match, and a verdict is on one: site=south id=9\d+ \(batch odd"):
        decide(path, "site=south", "confirmed", batch="odd")


def test_the_audit_draws_unflagged_records_and_their_verdicts_tell_what_is_missed(path: Path) -> None:
    drawn = audit(path)
    assert len(drawn.records) == drawn.open == 4 * 5
    assert audit(path) == drawn
    assert audit(path, batch="odd").records == tuple(one for one in drawn.records if one.batch == "odd")
    manifest = latest(Workspace.open(path).folder)["odd"]
    assert drawn.probability["odd"] == 5 / (manifest.scored - manifest.flagged)
    flags = {one.record_id for one in flagged(path, top=None).records}
    assert not flags & {one.record_id for one in drawn.records}
    for place, one in enumerate(drawn.records):
        decision: Any = "confirmed" if place == 0 else "false_alarm"
        done = decide(path, one.record_id, decision, who="ada", batch=one.batch)
        assert done.entry.audited
    missed = done.quality.missed
    sizes = {name: found.scored - found.flagged for name, found in latest(Workspace.open(path).folder).items()}
    total = sum(sizes.values())
    assert (missed.decided, missed.anomalies, missed.size, missed.batches) == (20, 1, total, 4)
    assert missed.estimate == pytest.approx(sizes[drawn.records[0].batch] / total / 5)
    assert audit(path).open == 0
    ordinary = next(id for id in range(ORDINARY, ORDINARY + 90) if not _drawn(drawn, id))
    stray = decide(path, str(ordinary), "confirmed", who="ada")
    assert not stray.entry.audited
    assert stray.quality.missed == missed
    assert stray.quality.stray == 1


def _drawn(drawn: Any, id: int) -> bool:
    return id in {one.key["id"] for one in drawn.records}


def test_with_enough_verdicts_precision_is_logged_with_the_version_and_taken_down_again(path: Path) -> None:
    found = flagged(path, top=None).records
    enough = [*found][:20]
    assert len(enough) == 20
    for one in enough[:-1]:
        assert decide(path, one.record_id, "confirmed", who="ada", batch=one.batch).logged == ()
    runs = path.parents[1] / "runs"
    assert not reviewed(runs, "meters")[1].precision.enough
    last = decide(path, enough[-1].record_id, "false_alarm", who="ada", batch=enough[-1].batch)
    assert (last.logged, last.notes) == ((1,), ())
    (version,) = models(runs, "meters")
    share = reviewed(runs, "meters")[1].precision
    assert isinstance(share, Share)
    assert share.estimate is not None
    assert version.metrics["review_precision"] == pytest.approx(share.estimate)
    assert version.metrics["review_precision_low"] < share.estimate < version.metrics["review_precision_high"]
    assert version.metrics["review_precision_decided"] == 20
    assert version.tags["review_precision"] == f"{share}, 20 decided"
    assert "review_missed_rate" not in version.tags
    undo(path, enough[-1].record_id, who="ada", batch=enough[-1].batch)
    assert "review_precision" not in models(runs, "meters")[0].tags


def test_with_enough_verdicts_of_both_kinds_auroc_is_logged_with_the_version(path: Path) -> None:
    store, runs = Workspace.open(path).store, path.parents[1] / "runs"
    decided: dict[str, Any] = {one.record_id: (one, True) for one in flagged(path, top=None).records}
    decided |= {one.record_id: (one, False) for one in audit(path).records}
    *most, last = decided.values()
    odd = {one.record_id: place % 2 == 0 for place, (one, _) in enumerate(decided.values())}
    store.verdicts.put_all(
        [
            Verdict(
                *(
                    "meters",
                    one.batch,
                    one.record_id,
                    1,
                    "confirmed" if odd[one.record_id] else "false_alarm",
                    "",
                    "ada",
                ),
                score=one.score,
                p_value=one.p_value,
                flagged=flag,
                audited=not flag,
            )
            for one, flag in most
        ],
        seen={},
    )
    word: Any = "confirmed" if odd[last[0].record_id] else "false_alarm"
    done = decide(path, last[0].record_id, word, who="ada", batch=last[0].batch)
    assert done.logged == (1,)
    found = done.quality.auroc
    assert (found.enough, found.batches, found.drawn, found.decided) == (True, 4, 20, len(decided))
    sizes = latest(Workspace.open(path).folder)
    counts = {
        key: sum((one.batch, flag) == key for one, flag in decided.values())
        for key in itertools.product(sizes, (True, False))
    }
    weights = [
        (sizes[one.batch].flagged if flag else sizes[one.batch].scored - sizes[one.batch].flagged)
        / counts[one.batch, flag]
        for one, flag in decided.values()
    ]
    expected = roc_auc_score(list(odd.values()), [one.score for one, _ in decided.values()], sample_weight=weights)
    assert found.estimate == pytest.approx(expected)
    (version,) = models(runs, "meters")
    assert version.metrics["review_auroc"] == pytest.approx(expected)
    assert version.metrics["review_auroc_low"] <= expected <= version.metrics["review_auroc_high"]
    assert version.metrics["review_auroc_decided"] == len(decided)
    assert version.tags["review_auroc"] == f"{found}, {len(decided)} decided"
    told = "\n".join(quality_lines(done.quality))
    assert f"AUROC, version 1: {found} of all records in 4 batches, by " in told
    undo(path, last[0].record_id, who="ada", batch=last[0].batch)
    assert ("review_auroc" in models(runs, "meters")[0].tags) == reviewed(runs, "meters")[1].auroc.enough


def test_a_registry_that_cannot_be_written_to_loses_no_verdict(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowguard.stages.verdicts.ENOUGH", 1)
    monkeypatch.setattr("flowguard.review.strata.ENOUGH", 1)

    def broken(*_: object, **__: object) -> None:
        raise FlowguardError("the disk is full")

    monkeypatch.setattr("flowguard.registry.Registry.note", broken)
    done = decide(path, str(ODD), "confirmed", who="ada")
    assert done.logged == ()
    assert done.notes == ("The verdict is stored, but the estimate of version 1 was not logged: the disk is full",)
    assert listed(path).total == 1


def test_verdicts_are_listed_with_the_keys_of_their_records_newest_first(path: Path) -> None:
    first = decide(path, str(ODD), "confirmed", who="ada").entry
    decide(path, str(ODD + 1), "unsure", who="ada")
    decide(path, "id=1000000", "false_alarm", who="ada")
    undo(path, "id=1000000", who="ada")
    found = listed(path)
    assert [one.key for one in found.records] == [{"id": ODD + 1}, {"id": ODD}]
    assert found.records[1].verdict == first
    assert (found.total, [one.version for one in found.qualities]) == (2, [1])
    assert found.qualities[0].precision.unsure == 1
    assert len(listed(path, top=1).records) == 1
    assert listed(path, batch="part1").total == 0
    shutil.rmtree(path.parents[1] / "runs/meters/scores/batch=odd")
    gone = listed(path).records
    assert [one.key for one in gone] == [{"id": None}, {"id": None}]
    assert gone[1].verdict == first


def test_redacted_keys_are_shown_nowhere(path: Path) -> None:
    path.write_text(path.read_text().replace("key: [id]", "key: [id]\n  redact: [id]"))
    done = decide(path, f"id={ODD}", "confirmed", who="ada")
    assert str(ODD) not in str(done)
    assert str(ODD) not in str(listed(path))
    assert str(9_000_0) not in str([replace(one, record_id="") for one in audit(path).records])


def test_a_verdict_given_on_the_same_key_in_another_batch_is_not_shown_beside_this_one(path: Path) -> None:
    shutil.copy(path.parents[1] / "data/odd.parquet", path.parents[1] / "data/odd2.parquet")
    score(path)
    decide(path, str(ODD), "confirmed", who="ada", batch="odd2")
    said = {one.batch: one.verdict for one in flagged(path, top=None).records if one.key["id"] == ODD}
    assert said == {"odd": None, "odd2": "confirmed"}


def test_a_case_is_decided_and_taken_back_whole(path: Path) -> None:
    case = next(one for one in cases(path).cases if len(one.records) > 1)
    ids = {member.record_id for member in case.records}
    first = decide(path, case.records[0].record_id, "false_alarm", who="bob", batch=case.records[0].batch).entry
    with pytest.raises(StoreError, match=r"1 of the \d+ records have a verdict .*--seen 1"):
        decide_case(path, case.id, "confirmed", who="ada")
    assert listed(path).total == 1
    done = decide_case(path, case.id, "confirmed", note="one cause", who="ada", seen=first.id)
    assert {entry.record_id for entry in done.entries} == ids
    assert {(one.verdict.decision, one.verdict.case_id) for one in listed(path).records} == {("confirmed", case.id)}
    assert done.qualities[0].precision.anomalies == len(ids)
    with pytest.raises(StoreError, match="ada decided confirmed"):
        undo_case(path, case.id, who="bob")
    back = undo_case(path, case.id, who="ada")
    assert len(back.entries) == len(ids)
    (left,) = listed(path).records
    assert (left.verdict.decision, left.verdict.note) == ("false_alarm", "")
    with pytest.raises(InputError, match="nothing to take back"):
        undo_case(path, case.id, who="ada")
    with pytest.raises(InputError, match="no case"):
        decide_case(path, "nonsense", "confirmed", who="ada")
