"""Manifests: what they name counts, the last word is the latest run's, damage is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flowguard.errors import FlowguardError
from flowguard.stages.manifest import Manifest, latest, manifest_path, manifests, read_manifest, write_manifest

ONE = Manifest(
    pipeline="meters",
    batch="2026-03-01",
    model="meters",
    version=1,
    bundle="b" * 64,
    fingerprint="f" * 64,
    stamp="s",
    read=10,
    scored=8,
    flagged=1,
    quarantined={"power is infinite": 2},
    score="mixed",
    policy={"false_alarm_rate": 0.01},
    level=0.01,
    guarantee="An ordinary record is flagged with probability at most 1 %.",
    note=None,
    cells={"all": [8, 1]},
    history=None,
    files={"scores": "scores/x.parquet"},
    quantiles={"q50": 1.5},
    started="2026-03-02T05:00:00.000+00:00",
    seconds=0.25,
    run=None,
)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, ONE)
    assert path == manifest_path(tmp_path, ONE.batch, ONE.version)
    assert read_manifest(path) == ONE
    assert ONE.quarantined_total + ONE.scored == ONE.read
    assert [file.name for file in path.parent.iterdir()] == ["version=1.json"]


def test_there_is_none_where_none_was_written(tmp_path: Path) -> None:
    assert read_manifest(manifest_path(tmp_path, "x", 1)) is None
    assert list(manifests(tmp_path)) == []
    assert latest(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_a_damaged_manifest_is_said_with_what_to_do(tmp_path: Path, text: str) -> None:
    path = write_manifest(tmp_path, ONE)
    path.write_text(text)
    with pytest.raises(FlowguardError, match=r"version=1\.json.*Delete that file and score the batch again"):
        latest(tmp_path)


def test_facts_that_a_later_release_added_do_no_harm(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, ONE)
    path.write_text(json.dumps({**json.loads(path.read_text()), "weather": "fair"}))
    assert read_manifest(path) == ONE


def test_manifests_of_before_the_age_of_the_calibration_was_kept_are_read(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, replace(ONE, calibrated=["2026-01-01", "2026-02-01"]))
    document = json.loads(path.read_text())
    del document["calibrated"]
    path.write_text(json.dumps(document))
    assert read_manifest(path) == ONE


def test_manifests_come_by_batch_then_by_number_of_the_version(tmp_path: Path) -> None:
    for batch in ("b", "a"):
        for version in (10, 9, 1):
            write_manifest(tmp_path, replace(ONE, batch=batch, version=version))
    assert [(one.batch, one.version) for one in manifests(tmp_path)] == [
        (batch, version) for batch in ("a", "b") for version in (1, 9, 10)
    ]
    assert [one.version for one in manifests(tmp_path, batch="a", version=9)] == [9]


def test_the_version_that_scored_last_has_the_word(tmp_path: Path) -> None:
    for version, hour in ((1, "09"), (2, "08"), (10, "07")):
        write_manifest(tmp_path, replace(ONE, version=version, started=f"2026-03-02T{hour}:00:00.000+00:00"))
    assert {batch: one.version for batch, one in latest(tmp_path).items()} == {"2026-03-01": 1}
