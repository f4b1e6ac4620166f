"""The benchmark with planted anomalies: what is planted, and that levels are measured on the same rows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import contamination
import numpy as np
import pytest
from detection_peers import Method, settings

from tests.benchmarks.small_table import write_table


def distance(train: np.ndarray, seed: int, *, log: str) -> dict[str, Any]:
    """Distance from the mean; every fit leaves a line. At the module's level, as it runs in the measuring process."""
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{seed} {len(train)}\n")
    return {"": lambda rows: np.linalg.norm(rows - train.mean(0), axis=1)}


def one_peer(share: float, *, log: str) -> Mapping[str, Method]:
    return {"distance": Method("distance", "scikit-learn", partial(distance, log=log))}


def test_planted_rows_are_the_share_of_the_training_rows_and_all_else_is_the_same_at_every_level(
    tmp_path: Path,
) -> None:
    path = write_table(tmp_path / "1_a.npz", normal=400, odd=60)
    dealt = {share: contamination.plant(path, share=share, rows=1000, seed=0) for share in contamination.LEVELS}
    clean = {tuple(row) for row in dealt[0.0].train.tolist()}
    assert dealt[0.0].count == 0
    for share, one in dealt.items():
        planted = {tuple(row) for row in one.train.tolist()} - clean
        assert len(planted) == one.count == len(one.train) - len(clean)
        assert one.count / len(one.train) == pytest.approx(share, abs=0.003)
        # Planted ones are anomalies, and none of them is tested.
        assert all(min(row) > 200 for row in planted)
        np.testing.assert_array_equal(one.test, dealt[0.0].test)
        assert not planted & {tuple(row) for row in one.test.tolist()}
        assert (one.test[one.label] > 200).all()


def test_with_few_anomalies_fewer_normal_rows_are_taken_so_that_there_are_enough_to_plant(tmp_path: Path) -> None:
    path = write_table(tmp_path / "1_a.npz", normal=400, odd=12)
    dealt = contamination.plant(path, share=0.1, rows=1000, seed=0)
    assert (dealt.count, len(dealt.train)) == (6, 60)
    with pytest.raises(ValueError, match="too few to plant"):
        contamination.plant(write_table(tmp_path / "2_b.npz", odd=1), share=0.1, rows=1000, seed=0)


def test_lines_that_are_told_the_same_are_one_detector_and_others_are_kept_apart() -> None:
    at = {share: contamination.lines(share) for share in (0.0, 0.05, 0.1)}
    assert settings(at[0.0]["flowguard"]) == settings(at[0.0]["flowguard, told the share"])
    assert settings(at[0.1]["flowguard, told 10%"]) == settings(at[0.1]["flowguard, told the share"])
    assert len({settings(one)["contamination"] for name, one in at[0.05].items() if "flow" in name}) == 3
    assert set(at[0.0]) == set(at[0.1]) >= {"KNN", "LOF", "IsolationForest", "GMM"}


def test_a_run_goes_on_where_it_was_and_gives_the_same_figures(tmp_path: Path) -> None:
    path, log = write_table(tmp_path / "1_a.npz", normal=200, odd=40), tmp_path / "log"
    given: dict[str, Any] = {"seeds": [0], "rows": 1000, "limit": 60.0, "results": tmp_path / "kept"}
    given["chosen"] = partial(one_peer, log=str(log))
    first = list(contamination.run([path], **given))
    assert [level for level, _ in first] == list(contamination.LEVELS)
    assert all(one.figures is not None and one.figures.auroc > 0.9 for _, one in first)
    assert log.read_text().splitlines() == ["0 100", "0 101", "0 105", "0 111"]
    assert list(contamination.run([path], **given)) == first
    assert len(log.read_text().splitlines()) == 4


@pytest.mark.filterwarnings("ignore:The table is too small")
def test_flowguard_is_told_the_share(tmp_path: Path) -> None:
    path = write_table(tmp_path / "1_a.npz", normal=200, odd=40)
    found = [
        contamination.measure(contamination.lines(0.05)[line], path, share=0.05, seed=0, rows=90)
        for line in ("flowguard", "flowguard, told the share")
    ]
    assert all(not isinstance(one, str) for one in found)


def test_the_command_prints_a_column_for_each_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "adbench/1_a.npz", normal=100, odd=30)
    # As lines may be looked up either way, both are the quick ones.
    quick = partial(one_peer, log=str(tmp_path / "log"))
    monkeypatch.setattr(contamination, "lines", quick)
    monkeypatch.setattr(contamination, "run", partial(contamination.run, chosen=quick))
    monkeypatch.setattr(contamination, "prepare", lambda: None)
    options = ["--data", str(tmp_path), "--results", str(tmp_path / "kept"), "--tables", "a", "--seeds", "0"]
    monkeypatch.setattr(sys, "argv", ["contamination.py", *options])
    contamination.main()
    (header,) = [line for line in capsys.readouterr().out.splitlines() if "detector" in line]
    assert header.split() == ["detector", "0%", "1%", "5%", "10%", "lost", "at", "most"]


def test_without_data_the_command_says_that_it_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["contamination.py", "--data", str(tmp_path)])
    contamination.main()
    assert "Skipped: there is no table" in " ".join(capsys.readouterr().out.split())
