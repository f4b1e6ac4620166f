"""The histogram of p-values: counts up to and at a level, whatever the order of the records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds

from flowguard.stages.manifest import latest, read_manifest, write_manifest
from flowguard.stages.p_values import LEVELS, PValues
from flowguard.stages.score import score
from tests.stages.test_manifest import ONE


def test_a_p_value_at_a_level_counts_up_to_it() -> None:
    made = PValues.of(np.array([0.05, 0.0500001, 0.0001, 1.0]))
    assert made.up_to["0.05"] == 2
    assert made.up_to["0.0001"] == 1
    assert made.up_to["0.1"] == 3
    assert list(made.up_to) == ["0.0001", "0.001", "0.01", "0.05", "0.1", "0.25", "0.5", "0.75", "0.9", "1"]
    assert [float(level) for level in made.up_to] == list(LEVELS)


def test_the_order_of_the_records_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    p_values = rng.random(10_000)
    assert PValues.of(p_values) == PValues.of(rng.permutation(p_values))


def test_of_no_record_there_is_nothing() -> None:
    made = PValues.of(np.zeros(0))
    assert set(made.up_to.values()) == {0}
    assert made.sum == 0.0


def test_a_manifest_keeps_it_and_manifests_of_before_it_are_read(tmp_path: Path) -> None:
    one = replace(ONE, p_values=PValues.of(np.array([0.3, 0.001])))
    path = write_manifest(tmp_path, one)
    assert read_manifest(path) == one
    document = json.loads(path.read_text())
    del document["p_values"]
    path.write_text(json.dumps(document))
    assert read_manifest(path) == ONE


def test_scoring_keeps_the_p_values_that_it_wrote_and_again_the_same(project: Path) -> None:
    score(project)
    folder = project.parents[1] / "runs/meters"
    first = latest(folder)
    for one in first.values():
        written = ds.dataset(folder / one.files["scores"]).to_table(columns=["p_value"])["p_value"].to_numpy()
        assert one.p_values == PValues.of(written)
    score(project, force=True)
    assert {name: one.p_values for name, one in latest(folder).items()} == {
        name: one.p_values for name, one in first.items()
    }
