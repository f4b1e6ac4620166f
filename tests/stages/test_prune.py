"""Retention: what is old goes, what something refers to stays, and a batch that was pruned counts as scored."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flowguard.errors import FlowguardError, InputError
from flowguard.stages.audit import audit
from flowguard.stages.cases import cases
from flowguard.stages.enqueue import enqueue
from flowguard.stages.exclude import Exclusion
from flowguard.stages.flagged import flagged
from flowguard.stages.freshness import freshness
from flowguard.stages.manifest import latest, manifests
from flowguard.stages.prune import Pruned, prune
from flowguard.stages.prune.found import Asked
from flowguard.stages.prune.review import old_reviews
from flowguard.stages.prune.scores import old_scores
from flowguard.stages.report import report
from flowguard.stages.rolling import number_of
from flowguard.stages.score import detector_of, plan_scoring, score
from flowguard.stages.train import train
from flowguard.stages.verdicts import decide, listed, undo
from flowguard.stages.why import why
from flowguard.stages.workspace import Workspace
from tests.conftest import meters
from tests.stages.test_rolling import project as days_project
from tests.stages.test_score import folder_of, outputs

LATER = timedelta(days=500)


def later() -> datetime:
    return datetime.now(UTC) + LATER


def keeping(path: Path, retention: str) -> Path:
    """The pipeline with this retention."""
    text = path.read_text().partition("retention:")[0]
    path.write_text(f"{text}retention: {retention}\n")
    return path


@pytest.fixture(scope="module")
def scored(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scored and queued batches with pages; copied, never changed."""
    folder = tmp_path_factory.mktemp("prune") / "project"
    shutil.copytree(trained_project, folder)
    path = folder / "pipelines/meters.yaml"
    score(path)
    enqueue(path)
    report(path)
    return folder


@pytest.fixture
def path(scored: Path, tmp_path: Path) -> Path:
    shutil.copytree(scored, tmp_path / "project")
    path = tmp_path / "project/pipelines/meters.yaml"
    assert not any(one.fresh for one in score(path)), "its source is where it was not: looked at once more"
    return path


def gone(done: Pruned, kind: str) -> list[str]:
    return [one.name for one in done.removed if one.kind == kind]


def stays(done: Pruned, kind: str) -> dict[str, str]:
    return {one.name: one.why for one in done.stays if one.kind == kind}


def every_file(path: Path) -> dict[Path, bytes]:
    """All that a pipeline left, but for databases, which readers open too."""
    found = (one for one in (path.parents[1] / "runs").rglob("*") if one.is_file() and ".db" not in one.name)
    return {one: one.read_bytes() for one in found}


def named(path: Path) -> set[Path]:
    """The files that manifests name."""
    folder = folder_of(path)
    return {folder / file for one in manifests(folder) for file in one.files.values()}


# -- what goes -------------------------------------------------------------------------------------------------------


def test_without_retention_nothing_is_ever_removed(path: Path) -> None:
    (folder_of(path) / "scores/batch=part0/version=1/.0123456789abcdef.parquet").touch()
    before = every_file(path)
    done = prune(path, now=later() + LATER * 20)
    assert (done.removed, done.stays, done.retention) == ((), (), {})
    assert every_file(path) == before


def test_what_is_younger_stays(path: Path) -> None:
    keeping(path, "{scores: 501, reports: 501, review: 501, versions: 1}")
    done = prune(path, now=later())
    assert done.removed == ()
    assert stays(done, "version") == {}, "the one version is among the newest"


def test_a_dry_run_tells_what_a_run_does_and_a_second_run_does_nothing(path: Path) -> None:
    keeping(path, "{scores: 400, reports: 400, review: 400}")
    before, now = every_file(path), later()
    told = prune(path, dry_run=True, now=now)
    assert every_file(path) == before
    assert told.files == len(outputs(path)) + 6 == len(gone(told, "page")) + len(named(path))
    assert told.bytes == sum(len(before[one]) for one in before if one in named(path) or one.parent.name == "reports")
    assert told.undecided == sum(one.flagged for one in latest(folder_of(path)).values())
    done = prune(path, now=now)
    assert (done.removed, done.stays, done.bytes) == (told.removed, told.stays, told.bytes)
    assert not outputs(path)
    assert not list((folder_of(path) / "reports").iterdir())
    assert not Workspace.open(path).store.queue.batches("meters")
    after = every_file(path)
    again = prune(path, now=now)
    assert (again.removed, again.files, again.bytes) == ((), 0, 0)
    assert every_file(path) == after


def test_each_rule_takes_its_own(path: Path) -> None:
    files, queue = len(outputs(path)), Workspace.open(path).store.queue
    assert {one.kind for one in prune(keeping(path, "{reports: 400}"), now=later()).removed} == {"page"}
    assert {one.kind for one in prune(keeping(path, "{review: 400}"), now=later()).removed} == {"queue"}
    assert len(outputs(path)) == files
    enqueue(path, again=True)
    assert {one.kind for one in prune(keeping(path, "{scores: 400}"), now=later()).removed} == {"scores"}
    assert len(queue.batches("meters")) == 3


# -- it counts as scored ---------------------------------------------------------------------------------------------


def test_a_pruned_batch_is_not_new_and_not_scored_again(path: Path) -> None:
    keeping(path, "{scores: 400, review: 400}")
    store = Workspace.open(path).store
    rows, drift = store.batches.of("meters"), store.drift.of("meters")
    before = latest(folder_of(path))
    prune(path, now=later())
    assert plan_scoring(path).batches == ()
    assert score(path) == []
    assert freshness(path).waiting == ()
    assert (store.batches.of("meters"), store.drift.of("meters")) == (rows, drift)
    for batch, manifest in latest(folder_of(path)).items():
        was = before[batch]
        assert (manifest.fingerprint, manifest.bundle, manifest.version, manifest.flagged, manifest.level) == (
            (was.fingerprint, was.bundle, was.version, was.flagged, was.level)
        )
        assert manifest.pruned is not None
        assert manifest.pruned["scores"]["by"] == "retention.scores: 400"
    # Written again with the same content, it is looked at and left; named, too.
    os.utime(path.parents[1] / "data/part0.parquet")
    (result,) = score(path)
    assert (result.fresh, result.manifest.was_pruned("scores"), result.manifest.files) == (False, True, {})
    assert plan_scoring(path).batches == ()
    (result,) = score(path, batch="part1")
    assert not result.fresh
    enqueue(path, batches=["part1"])
    assert not store.queue.batches("meters")
    # Other content is another delivery.
    pq.write_table(meters(900, 4), path.parents[1] / "data/part0.parquet")
    (result,) = score(path)
    assert (result.fresh, result.manifest.pruned, result.manifest.read) == (True, None, 900)


def test_a_pruned_batch_comes_back_whole_when_it_is_asked_for(path: Path) -> None:
    keeping(path, "{scores: 400, review: 400}")
    before, was = every_file(path), latest(folder_of(path))["part1"]
    prune(path, now=later())
    (result,) = score(path, batch="part1", force=True)
    assert result.manifest.files == was.files
    assert all((folder_of(path) / file).read_bytes() == before[folder_of(path) / file] for file in was.files.values())
    assert enqueue(path).batches == ("part1",)
    assert flagged(path).total == was.flagged


def test_what_left_the_queue_comes_back_only_when_it_is_asked_for(path: Path) -> None:
    prune(keeping(path, "{review: 400}"), now=later())
    assert enqueue(path).batches == ()
    assert enqueue(path, batches=["part0"]).batches == ()
    assert enqueue(path, batches=["part0"], again=True).batches == ("part0",)
    assert gone(prune(path, now=later()), "queue") == ["part0"]


# -- what is referred to ---------------------------------------------------------------------------------------------


def test_a_verdict_keeps_its_batch_and_is_kept_for_ever(path: Path) -> None:
    keeping(path, "{scores: 400, review: 400}")
    store, one = Workspace.open(path).store, flagged(path, batch="part1", top=1).records[0]
    entry = decide(path, one.record_id, "confirmed", who="ada").entry
    taken_back = flagged(path, batch="part2", top=1).records[0].record_id
    decide(path, taken_back, "unsure", who="ada")
    undo(path, taken_back, who="ada")
    done = prune(path, now=later())
    assert gone(done, "scores") == ["part0"]
    assert stays(done, "scores") == dict.fromkeys(["part1", "part2"], "a verdict refers to it")
    assert gone(done, "queue") == ["part0", "part1", "part2"]
    assert done.undecided == sum(manifest.flagged for manifest in latest(folder_of(path)).values()) - 1
    assert store.verdicts.history("meters", one.record_id) == [entry]
    (shown,) = listed(path).records
    assert shown.key == one.key, "its batch is there to tell"
    detector = detector_of(Workspace.open(path), Workspace.open(path).registry.resolve("meters"))
    assert Exclusion.of(Workspace.open(path), detector.columns).columns == ("id",), "it is left out of what is learned"
    assert why(path, one.record_id).record is not None


def test_what_changes_after_it_was_found_is_left(path: Path) -> None:
    keeping(path, "{scores: 400, review: 400}")
    workspace = Workspace.open(path)
    asked = Asked(workspace, later(), tuple(manifests(workspace.folder)))
    first, second, third = old_scores(asked).steps
    queued = old_reviews(asked).steps[1]
    decide(path, flagged(path, batch="part0", top=1).records[0].record_id, "false_alarm", who="ada")
    score(path, batch="part1", force=True)
    enqueue(path)
    before = every_file(path)
    assert not first.take(), "somebody decided on a record of it"
    assert not second.take(), "it was scored again"
    assert every_file(path) == before
    assert not queued.take()
    assert latest(workspace.folder)["part1"].pruned is not None or workspace.store.queue.batch("meters", "part1")
    assert third.take()
    assert not third.take(), "it is gone"


@pytest.mark.e2e
def test_days_that_a_rolling_calibration_ranks_among_stay(tmp_path: Path) -> None:
    path = days_project(tmp_path, "{window: 5}", 42)
    train(path)
    late = path.parents[1] / "data/34.parquet"
    held = late.read_bytes()
    late.unlink()
    score(path)
    late.write_bytes(held)
    keeping(path, "{scores: 400}")
    done = prune(path, now=later())
    # Those before the day that came late, and those before the day to come; the model knows January.
    needed = [f"2026-02-{day:02d}" for day in (1, 2, 3, 8, 9, 10, 11)]
    assert sorted(stays(done, "scores")) == ["2026-01-31", *needed]
    assert set(stays(done, "scores").values()) == {"the rolling calibration of version 1 needs it"}
    assert number_of(max(gone(done, "scores"))) == number_of("2026-02-07")
    (result,) = (one for one in score(path) if one.fresh)
    assert result.manifest.batch == "2026-02-04"
    assert result.manifest.reference is not None
    assert result.manifest.reference["batches"] == 4
    assert "pruned" not in result.manifest.reference
    (again,) = score(path, batch="2026-02-07", force=True)
    assert again.manifest.reference is not None
    assert (again.manifest.reference["batches"], again.manifest.reference["pruned"]) == (2, 2)
    shutil.rmtree(path.parents[1] / "data")
    unread = prune(path, now=later() + LATER)
    assert not gone(unread, "scores")
    assert all("source cannot be read" in why for why in stays(unread, "scores").values())


# -- what is said of it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda path, batch: flagged(path, batch=batch),
        lambda path, batch: cases(path, batch=batch),
        lambda path, batch: audit(path, batch=batch),
        lambda path, batch: report(path, batch=batch),
        lambda path, batch: why(path, "id=7", batch=batch),
        lambda path, batch: decide(path, "id=7", "unsure", batch=batch),
        lambda path, batch: why(path, "id=7", batch=batch, version=1),
    ],
    ids=["flagged", "cases", "audit", "report", "why", "decide", "why of a version"],
)
def test_who_asks_for_a_pruned_batch_is_told_when_and_by_which_rule(
    path: Path, ask: Callable[[Path, str | None], object]
) -> None:
    keeping(path, "{scores: 400}")
    decide(path, flagged(path, batch="part2", top=1).records[0].record_id, "unsure", who="ada")
    prune(path, now=later())
    with pytest.raises(InputError) as caught:
        ask(path, "part0")
    said = str(caught.value)
    assert f"was scored on {datetime.now(UTC):%Y-%m-%d} and pruned on {later():%Y-%m-%d}" in said
    assert "by `retention.scores: 400`" in said
    assert "--batch part0 --force" in said


def test_what_is_asked_of_all_batches_leaves_pruned_ones_out(path: Path) -> None:
    keeping(path, "{scores: 400, reports: 400}")
    kept = flagged(path, batch="part2", top=1).records[0]
    decide(path, kept.record_id, "confirmed", who="ada")
    prune(path, now=later())
    assert {one.batch for one in flagged(path, top=None).records} == {"part2"}
    made = report(path)
    assert [page.name for page in made.pages] == ["batch-part2.html"]
    page = made.run.read_text(encoding="utf-8")
    assert "2 batches, part0 to part1, were pruned and not counted here." in page
    assert "batch-part0.html" not in page
    assert {one.batch for one in audit(path).records} == {"part2"}
    assert cases(path).total == latest(folder_of(path))["part2"].flagged
    with pytest.raises(InputError, match="2 batches, part0 to part1, were pruned"):
        why(path, "id=7")
    score(path, batch="part2", force=True)
    prune(path, now=later())
    assert flagged(path).total == latest(folder_of(path))["part2"].flagged


def test_when_all_is_pruned_that_is_said(path: Path) -> None:
    prune(keeping(path, "{scores: 400}"), now=later())
    for ask in (flagged, cases, audit, report):
        with pytest.raises(InputError, match="All 3 scored batches of meters were pruned"):
            ask(path)  # type: ignore[operator]


# -- safe ------------------------------------------------------------------------------------------------------------


def test_links_strange_names_and_files_of_others_are_left_alone(path: Path, tmp_path: Path) -> None:
    keeping(path, "{scores: 400, reports: 400}")
    folder, outside = folder_of(path), tmp_path / "outside"
    outside.mkdir()
    for kind in ("scores", "reasons"):  # the files of one batch lie elsewhere, by a link in the place of a folder
        home = folder / kind / "batch=part0" / "version=1"
        shutil.move(home, outside / kind)
        home.symlink_to(outside / kind)
    (scores,) = (folder / "scores/batch=part1/version=1").iterdir()  # and of another by a link to the file
    shutil.move(scores, outside / "file.parquet")
    scores.symlink_to(outside / "file.parquet")
    mine = [
        folder / "scores/batch=part2/version=1/notes.txt",
        folder / "scores/batch=part2/version=1/..; rm -rf .parquet",
        folder / "scores/batch=part2/version=1/.DS_Store",
        folder / "scores/batch=part2/other/0123456789abcdef.parquet",
        folder / "reports/batch-mine.html",
        folder / "reports/batch-part0.html.bak",
        folder / "work/0123/checkpoint.pt",
        folder / "elsewhere/version=1/0123456789abcdef.parquet",
    ]
    for one in mine:
        one.parent.mkdir(parents=True, exist_ok=True)
        one.write_text("mine")
    page = folder / "reports/batch-part1.html"
    shutil.move(page, outside / "page.html")
    page.symlink_to(outside / "page.html")
    kept = every_file(path).keys() & {*mine}
    beyond = {one: one.read_bytes() for one in outside.rglob("*") if one.is_file()}
    done = prune(path, now=later() + LATER)
    assert gone(done, "scores") == ["part2"]
    assert stays(done, "scores") == dict.fromkeys(
        ["part0", "part1"], "its manifest names what is no file of a scored batch"
    )
    assert {one: one.read_bytes() for one in outside.rglob("*") if one.is_file()} == beyond
    assert all(one.read_text() == "mine" for one in kept)
    assert page.is_symlink()
    assert gone(done, "leftover") == []


def test_a_manifest_cannot_name_what_is_not_the_batchs(path: Path, tmp_path: Path) -> None:
    keeping(path, "{scores: 400}")
    folder = folder_of(path)
    outside = tmp_path / "project/0123456789abcdef.parquet"
    outside.write_text("mine")
    (other,) = (folder / "scores/batch=part1/version=1").iterdir()
    for batch, name in [
        ("part0", "scores/batch=part0/version=1/../../../../../0123456789abcdef.parquet"),
        ("part1", str(outside)),
        ("part2", other.relative_to(folder).as_posix()),
    ]:
        manifest = folder / f"manifests/batch={batch}/version=1.json"
        (real,) = (folder / f"scores/batch={batch}/version=1").iterdir()
        manifest.write_text(manifest.read_text().replace(real.relative_to(folder).as_posix(), name))
    done = prune(path, now=later())
    assert (gone(done, "scores"), len(done.stays)) == ([], 3)
    assert outside.read_text() == "mine"
    assert other.exists()


def test_a_damaged_manifest_stops_it_before_anything_is_removed(path: Path) -> None:
    keeping(path, "{scores: 400, reports: 400, review: 400}")
    (folder_of(path) / "manifests/batch=part2/version=1.json").write_text("{")
    before = every_file(path)
    with pytest.raises(FlowguardError, match="cannot be read"):
        prune(path, now=later())
    assert every_file(path) == before


def test_what_killed_runs_left_goes_after_a_day_and_what_runs_work_with_stays(path: Path) -> None:
    keeping(path, "{scores: 9999}")
    folder = folder_of(path)
    home = folder / "scores/batch=part0/version=1"
    old = [
        home / ".0123456789abcdef.parquet",
        home / ".0123456789abcdef.arrow",
        home / "..0123456789abcdef.parquet.0123456789ab.tmp",
        home / "0123456789abcdef.parquet",  # a delivery before, which no manifest names
        folder / "scores/batch=never/version=1/0123456789abcdef.parquet",
        folder / "reports/.run.html.0123456789ab.tmp",
        folder / "manifests/batch=part0/.version=1.json.0123456789ab.tmp",
        folder / "work/.recalibrating-abc123/bundle/weights.safetensors",
        folder.parent / ".bundles/.fetch-abc123/bundle/weights.safetensors",
    ]
    young = [one.with_name(one.name.replace("0123456789ab", "ba9876543210")) for one in old[:4]]
    young.append(folder / "work/.dealing-abc123/train.arrow")
    for one in (*old, *young):
        one.parent.mkdir(parents=True, exist_ok=True)
        one.write_text("left")
    past = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    for one in old:
        os.utime(one, (past, past))
        for above in (one.parent, one.parent.parent):
            if above.name.startswith((".", "bundle")) and above.name != ".bundles":
                os.utime(above, (past, past))
    before = named(path)
    told = prune(path, dry_run=True)
    done = prune(path)
    assert done.removed == told.removed
    assert len(gone(done, "leftover")) == len(old)
    assert not any(one.exists() for one in old)
    assert all(one.exists() for one in (*young, *before))


def killed(path: Path, code: str) -> None:
    """Prune in a process of its own, which dies where `code` says."""
    program = (
        "import os, sys, datetime\nfrom flowguard.stages import prune\n"
        "from flowguard.stages.prune import scores, review, versions\n"
        f"{code}\n"
        "prune.prune(sys.argv[1], now=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=500))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.e2e
@pytest.mark.parametrize(
    "code",
    [
        "scores.write_manifest = lambda *given: os.kill(os.getpid(), 9)",
        "scores.os.unlink = lambda path: os.kill(os.getpid(), 9)",
        "real = os.unlink\ndef one(path):\n    real(path)\n    os.kill(os.getpid(), 9)\nscores.os.unlink = one",
        "from flowguard.store.pruning import Pruning\nPruning.take_queued = lambda *given: os.kill(os.getpid(), 9)",
    ],
    ids=["before the manifest", "before the first file", "after the first file", "before the queue"],
)
def test_a_kill_in_the_middle_leaves_nothing_half_and_the_next_run_completes_it(path: Path, code: str) -> None:
    keeping(path, "{scores: 400, review: 400}")
    killed(path, code)
    assert all(one.exists() for one in named(path)), "nothing refers to what is gone"
    assert score(path) == []
    assert enqueue(path).batches == ()
    told = prune(path, dry_run=True, now=later())
    assert prune(path, now=later()).removed == told.removed
    assert not outputs(path)
    assert not Workspace.open(path).store.queue.batches("meters")
    assert prune(path, now=later()).removed == ()


@pytest.mark.e2e
def test_it_harms_no_run_that_scores_the_same_batches(path: Path) -> None:
    keeping(path, "{scores: 400, review: 400}")
    with ThreadPoolExecutor(2) as pool:
        scoring = [pool.submit(score, path, force=True) for _ in range(4)]
        pruning = [prune(path, now=later()) for _ in range(12)]
        for one in scoring:
            one.result()
    assert any(gone(one, "scores") for one in pruning)
    assert set(outputs(path)) == named(path), "no file without a manifest, no manifest without its files"
    score(path, force=True)
    enqueue(path)
    assert flagged(path).total == sum(one.flagged for one in latest(folder_of(path)).values()) > 0
