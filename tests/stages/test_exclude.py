"""Confirmed anomalies leave training and calibration: which ones, what is told, and when it is another version."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.spec import load_pipeline
from flowguard.stages.deal import PARTS, Dealt, deal, stream
from flowguard.stages.exclude import excluded_of
from flowguard.stages.fit import fit
from flowguard.stages.flagged import flagged
from flowguard.stages.models import models
from flowguard.stages.recalibrate import recalibrate
from flowguard.stages.score import detector_of, score
from flowguard.stages.train import train
from flowguard.stages.verdicts import decide, undo
from flowguard.stages.workspace import Workspace
from flowguard.tables import part_of
from tests.conftest import PIPELINE, meters, write_project
from tests.stages.test_rolling import project as days_project


@pytest.fixture(scope="module")
def scored(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exclude") / "project"
    shutil.copytree(trained_project, folder)
    score(folder / "pipelines/meters.yaml")
    return folder


@pytest.fixture
def path(scored: Path, tmp_path: Path) -> Path:
    shutil.copytree(scored, tmp_path / "project")
    return tmp_path / "project/pipelines/meters.yaml"


def powers(dealt: Dealt) -> dict[str, set[float]]:
    return {
        part: {value for batch in stream(dealt.folder, part)() for value in batch.column("power").to_pylist()}
        for part in PARTS
    }


def part_and_power(path: Path, id: int) -> tuple[str, float]:
    table = pa.concat_tables([pq.read_table(file) for file in sorted((path.parents[1] / "data").glob("*.parquet"))])
    row = table.filter(pa.compute.equal(table["id"], id)).combine_chunks().to_batches()[0]
    return part_of(row, unit=["id"], shares=load_pipeline(path).split.shares)[0], row.column("power")[0].as_py()


def test_confirmed_records_are_dealt_to_no_part_and_false_alarms_stay(path: Path) -> None:
    before = deal(path)
    assert before.excluded is None
    found = flagged(path, top=None).records
    confirmed, others = found[:8], found[8:14]
    entries = [decide(path, one.record_id, "confirmed", who="ada").entry.id for one in confirmed]
    for place, one in enumerate(others):
        decide(path, one.record_id, "unsure" if place % 2 else "false_alarm", who="ada")
    dealt = deal(path)
    assert dealt.excluded is not None
    where = [part_and_power(path, one.key["id"]) for one in confirmed]
    assert dealt.excluded.records == {part: sum(one == part for one, _ in where) for part in PARTS}
    assert (dealt.excluded.ids, dealt.excluded.entry) == (8, max(entries))
    assert {part: before.records[part] - dealt.excluded.records[part] for part in PARTS} == dealt.records
    assert dealt.fingerprint == before.fingerprint, "it is of the same data"
    was, now = powers(before), powers(dealt)
    for part in PARTS:
        assert was[part] - now[part] == {power for one, power in where if one == part}
    for one in others:
        part, power = part_and_power(path, one.key["id"])
        assert power in now[part]


def test_other_confirmed_verdicts_make_another_version_and_the_same_ones_do_not(path: Path) -> None:
    first, second, third = flagged(path, top=3).records
    decide(path, first.record_id, "confirmed", who="ada")
    made = train(path)
    version = made.registered.version
    assert (version.version, made.registered.known) == (2, False)
    assert made.dealt.excluded is not None
    assert version.tags["excluded"] == made.dealt.excluded.words
    assert "1 record confirmed as anomalies (" in made.dealt.excluded.words
    assert "up to entry 1, ids " in made.dealt.excluded.words
    workspace = Workspace.open(path)
    assert excluded_of(detector_of(workspace, version)) == made.dealt.excluded
    decide(path, second.record_id, "false_alarm", who="ada")
    again = train(path)
    assert (again.registered.known, again.registered.version.version) == (True, 2), "a false alarm changes nothing"
    decide(path, third.record_id, "confirmed", who="ada")
    assert not deal(path).known
    undo(path, third.record_id, who="ada")
    assert train(path).registered.version.version == 2
    undo(path, first.record_id, who="ada")
    assert train(path).registered.version.version == 1, "without it, all is as it was"
    assert "excluded" not in models(path.parents[1] / "runs", "meters")[1].tags


def test_it_can_be_turned_off(path: Path) -> None:
    decide(path, flagged(path, top=1).records[0].record_id, "confirmed", who="ada")
    path.write_text(path.read_text() + "verdicts: {exclude_confirmed: false}\n")
    made = train(path)
    assert (made.registered.known, made.registered.version.version, made.dealt.excluded) == (True, 1, None)


def test_a_training_that_was_stopped_goes_on_only_with_the_verdicts_it_began_with(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowguard.training import loop

    keep = loop.save_checkpoint

    def stopped(dealt: Dealt) -> None:
        def once(*args: object, **options: object) -> None:
            keep(*args, **options)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(loop, "save_checkpoint", once)
            with pytest.raises(KeyboardInterrupt):
                fit(path, dealt)

    first, second = flagged(path, top=2).records
    decide(path, first.record_id, "confirmed", who="ada")
    begun = deal(path)
    stopped(begun)
    decide(path, second.record_id, "false_alarm", who="ada")
    same = deal(path)
    assert same.key == begun.key
    assert fit(path, same).resumed_at == 2
    decide(path, second.record_id, "confirmed", who="ada")
    other = deal(path)
    assert other.key != begun.key
    assert fit(path, other).resumed_at is None, "what was begun with other records is not gone on with"
    made = train(path)
    assert made.dealt.excluded is not None
    assert made.dealt.excluded.ids == 2


@pytest.mark.e2e
def test_a_recalibration_ranks_without_them_and_keeps_what_the_weights_were_trained_without(path: Path) -> None:
    found = [(one, part_and_power(path, one.key["id"])[0]) for one in flagged(path, top=None).records]
    ranked = next(one for one, part in found if part == "calibration")
    learned = next(one for one, part in found if part == "train")
    decide(path, learned.record_id, "confirmed", who="ada")
    trained = train(path)
    decide(path, ranked.record_id, "confirmed", who="ada")
    made = recalibrate(path, version=2)
    assert made.registered.version.version == 3
    assert made.excluded is not None
    assert made.excluded.records == {"calibration": 1, "holdout": 0}
    workspace = Workspace.open(path)
    before, after = (detector_of(workspace, workspace.registry.resolve("meters", number)) for number in (2, 3))
    assert before.calibration is not None
    assert after.calibration is not None
    held = [one.provenance["records"]["calibration"] for one in (before, after)]
    assert held[1] == held[0] - 1
    assert before.calibration.size - after.calibration.size in (0, 1), "half of them go to the ranks of the score"
    assert excluded_of(after) == made.excluded
    assert trained.dealt.excluded is not None
    assert after.provenance["recalibrated"]["excluded"] == trained.dealt.excluded.to_dict()
    assert recalibrate(path, version=2).registered.known
    once_more = recalibrate(path, version=3)
    told = detector_of(workspace, once_more.registered.version).provenance["recalibrated"]["excluded"]
    assert told == trained.dealt.excluded.to_dict()
    undo(path, ranked.record_id, who="ada")
    assert recalibrate(path, version=2).excluded is None


@pytest.mark.e2e
@pytest.mark.parametrize("key", ["", "  key: [id]\n"], ids=["no key", "a key that nothing else reads"])
def test_records_are_known_whatever_else_is_read(tmp_path: Path, key: str) -> None:
    text = PIPELINE.replace("  key: [id]\n", key).replace("split: {", "split: {unit: [group], ")
    path = write_project(tmp_path / "project", text)
    for number in range(3):
        table = meters(1000, number)
        groups = pa.array(np.random.default_rng(number).integers(0, 60, 1000))
        # One key comes twice in each batch, with other content.
        table = table.set_column(0, "id", pa.array([*range(999), 7])).append_column("group", groups)
        pq.write_table(table, path.parents[1] / f"data/part{number}.parquet")
    train(path)
    score(path)
    found = flagged(path, top=None).records
    one = found[0]
    decide(path, one.record_id, "confirmed", who="ada", batch=one.batch)
    made = deal(path)
    assert made.excluded is not None
    # A key that comes in three batches is one record, and is left out wherever it comes.
    assert made.excluded.total == (3 if key else 1)
    assert made.excluded.ids == 1


@pytest.mark.e2e
def test_rolling_calibrations_rank_without_them_and_say_so(tmp_path: Path) -> None:
    path = days_project(tmp_path, "{half_life: 7}", 36)
    train(path)
    score(path)
    (before,) = score(path, batch="2026-02-04", force=True)
    assert before.manifest.reference is not None
    assert "excluded" not in before.manifest.reference
    one = next(
        one for one in flagged(path, top=None).records if dt.date(2026, 1, 31).isoformat() <= one.batch < "2026-02-04"
    )
    entry = decide(path, one.record_id, "confirmed", who="ada").entry
    (after,) = score(path, batch="2026-02-04", force=True)
    assert after.manifest.reference is not None
    assert after.manifest.reference["records"] == before.manifest.reference["records"] - 1
    told = after.manifest.reference["excluded"]
    assert (told["records"], told["ids"], told["entry"]) == ({"scored": 1}, 1, entry.id)
    (earlier,) = score(path, batch="2026-01-31", force=True)
    assert "excluded" not in earlier.manifest.reference  # type: ignore[operator]
