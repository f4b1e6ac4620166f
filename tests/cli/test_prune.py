"""`flowguard prune`: what goes and what stays, for people and for scripts; and what the desk says of what went."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flowguard.stages.flagged import flagged
from flowguard.stages.manifest import latest
from flowguard.stages.prune import prune
from flowguard.stages.report import report
from flowguard.stages.verdicts import decide
from tests.cli.test_cli import flowguard_, refused
from tests.review.web.room_sample import browser, scored_project
from tests.stages.test_score import folder_of


@pytest.fixture
def path(trained_project: Path, tmp_path: Path) -> Path:
    """Four scored batches, of which three were scored long ago, with pages of that time."""
    path = scored_project(trained_project, tmp_path / "project")
    report(path)
    past = datetime.now(UTC) - timedelta(days=500)
    for batch in ("part0", "part1", "part2"):
        manifest = folder_of(path) / f"manifests/batch={batch}/version=1.json"
        text = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**text, "started": past.isoformat(timespec="milliseconds")}))
        os.utime(folder_of(path) / f"reports/batch-{batch}.html", (past.timestamp(), past.timestamp()))
    return path


def keep(path: Path, **retention: int) -> None:
    yaml = YAML()
    document = yaml.load(path.read_text())
    document["retention"] = retention
    with path.open("w") as file:
        yaml.dump(document, file)


def test_people_are_told_what_goes_what_stays_and_why(path: Path) -> None:
    assert "keeps everything: its file has no `retention`" in flowguard_("prune", path).stdout
    keep(path, scores=400, reports=90)
    one = flagged(path, batch="part1", top=1).records[0]
    decide(path, one.record_id, "confirmed", who="ada")
    told = flowguard_("prune", path, "--dry-run")
    assert told.exit_code == 0
    lines = {" ".join(line.split()) for line in told.stdout.splitlines()}
    size = sum(
        file.stat().st_size
        for batch in ("part0", "part2")
        for name in latest(folder_of(path))[batch].files.values()
        for file in [folder_of(path) / name]
    )
    assert "Would go" in lines
    assert f"scores 2 part0, part2 retention.scores: 400 4 {size / 1000:.1f} kB" in lines
    assert any(line.startswith("pages 3 batch-part0.html, batch-part1.html,") for line in lines)
    assert "scores 1 part1 a verdict refers to it" in lines
    assert any(line.startswith("7 files of ") and "would be removed" in line for line in lines)
    assert f"flowguard prune {path}" in told.stdout
    assert not any(one.was_pruned("scores") for one in latest(folder_of(path)).values())
    done = flowguard_("prune", path)
    assert "Removed" in done.stdout
    assert "7 files of " in done.stdout
    assert "would" not in done.stdout
    assert [batch for batch, one in latest(folder_of(path)).items() if one.was_pruned("scores")] == ["part0", "part2"]
    assert "Nothing is old that may go (scores: 400, reports: 90)." in flowguard_("prune", path).stdout
    assert "and pruned on" in flowguard_("score", path, "--batch", "part0").stdout


def test_scripts_get_the_same_as_one_document(path: Path) -> None:
    keep(path, scores=400, review=400)
    dry, real = (json.loads(flowguard_("prune", path, *options, "--json").stdout) for options in (["--dry-run"], []))
    assert (dry["dry_run"], real["dry_run"]) == (True, False)
    assert dry["removed"] == real["removed"]
    assert (real["pipeline"], real["retention"]) == ("meters", {"scores": 400, "review": 400})
    assert {"kind", "name", "why", "version", "files", "bytes", "undecided"} == real["removed"][0].keys()
    assert real["bytes"] == sum(one["bytes"] for one in real["removed"])


def test_undecided_records_that_leave_the_queue_are_told(path: Path) -> None:
    keep(path, review=1)
    prune(path, dry_run=True, now=datetime.now(UTC) + timedelta(days=2))
    flags = sum(one.flagged for one in latest(folder_of(path)).values())
    done = prune(path, now=datetime.now(UTC) + timedelta(days=2))
    assert done.undecided == flags


@pytest.mark.parametrize(
    ("retention", "said"),
    [("{scores: 0}", "a number at least 1"), ("{score: 400}", "scores"), ("{versions: '10'}", "versions")],
)
def test_a_rule_that_cannot_be_read_is_refused(path: Path, retention: str, said: str) -> None:
    path.write_text(path.read_text() + f"retention: {retention}\n")
    assert said in refused("prune", path)


def test_the_desk_says_when_a_batch_was_pruned_and_by_which_rule(path: Path) -> None:
    keep(path, review=1, scores=1)
    first, second = flagged(path, batch="part0", top=2).records
    decide(path, first.record_id, "confirmed", who="ada", batch="part0")
    other = flagged(path, batch="part1", top=1).records[0]
    client = browser(path)
    later = datetime.now(UTC) + timedelta(days=2)
    prune(path, now=later)
    page = client.get("/p/meters/batches/part0")
    assert page.status_code == 404
    assert f"taken out of the queue on {later:%Y-%m-%d} by `retention.review: 1`" in page.text
    assert client.get("/p/meters/batches/odd").status_code == 404
    # What a verdict refers to is told whole.
    known = client.get(f"/p/meters/records/{first.record_id}")
    assert known.status_code == 200
    assert "It is not in the queue." in known.text
    assert client.get(f"/p/meters/records/{second.record_id}?batch=part0").status_code == 200
    # Of another batch nothing is left but that.
    lost = client.get(f"/p/meters/records/{other.record_id}?batch=part1")
    assert lost.status_code == 404
    assert "by `retention.review: 1`" in lost.text
    assert client.get("/p/meters").status_code == 200
    assert client.get("/p/meters/records").status_code == 200
    assert client.get("/p/meters/batches/..%2F..%2Fmanifests").status_code == 404
