"""The detection benchmark: what is kept and used again, and that no failure is left out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import detection
import numpy as np
import pytest
from detection_peers import Method, methods
from detection_tables import Figures, Outcome

from tests.benchmarks.small_table import write_table

# Fits that run in the measuring process, so at the module's level.


def distance(train: np.ndarray, seed: int, *, log: str, by: float = 1.0) -> dict[str, Any]:
    """Distance from the mean; every fit leaves a line."""
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{seed}\n")
    centre = train.mean(0)
    return {"": lambda rows: by * np.linalg.norm(rows - centre, axis=1)}


def broken(train: np.ndarray, seed: int) -> dict[str, Any]:
    raise RuntimeError(f"mean {abs(train.mean()):.2f}, deviation {train.std():.2f}, {train.dtype}")


def mending(train: np.ndarray, seed: int, *, log: str) -> dict[str, Any]:
    """Fails at its first fit only."""
    found = distance(train, seed, log=log)
    if lines_of(log) == 1:
        raise RuntimeError("not yet")
    return found


def slow(train: np.ndarray, seed: int, *, log: str) -> dict[str, Any]:
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{seed}\n")
    time.sleep(60)
    return {}


def killed(train: np.ndarray, seed: int) -> dict[str, Any]:
    os._exit(7)


def undefined(train: np.ndarray, seed: int) -> dict[str, Any]:
    return {"": lambda rows: np.full(len(rows), np.nan)}


def run(paths: Sequence[Path], chosen: Sequence[Method], folder: Path, **given: Any) -> list[Outcome]:
    given = {"seeds": [0], "rows": 1000, "limit": 60.0, **given}
    return list(detection.run(paths, chosen, results=folder / "results", **given))


def lines_of(log: str) -> int:
    return len(Path(log).read_text().splitlines())


# -- results that are kept ---------------------------------------------------------------------------------------------


def test_a_run_goes_on_where_it_was_and_gives_the_same_figures(tmp_path: Path) -> None:
    path, log = write_table(tmp_path / "1_a.npz"), str(tmp_path / "log")
    chosen = [Method("distance", "scikit-learn", partial(distance, log=log))]
    first = run([path], chosen, tmp_path, seeds=[0, 1])
    assert lines_of(log) == 2
    assert [one.figures is not None and one.figures.auroc for one in first] == [1.0, 1.0]
    assert run([path], chosen, tmp_path, seeds=[0, 1]) == first
    assert lines_of(log) == 2
    # One result lost and one cut in half: both are measured again, and nothing else would be.
    lost, cut = sorted((tmp_path / "results").rglob("*.json"))
    lost.unlink()
    cut.write_text(cut.read_text()[:40])
    assert len(run([path], chosen, tmp_path, seeds=[0, 1])) == 2
    assert lines_of(log) == 4
    run([path], chosen, tmp_path, seeds=[0, 1], fresh=True)
    assert lines_of(log) == 6


def test_results_of_other_settings_rows_or_data_are_not_used(tmp_path: Path) -> None:
    path, log = write_table(tmp_path / "1_a.npz"), str(tmp_path / "log")
    chosen = [Method("distance", "scikit-learn", partial(distance, log=log))]
    run([path], chosen, tmp_path)
    run([path], [Method("distance", "scikit-learn", partial(distance, log=log, by=2.0))], tmp_path)
    assert lines_of(log) == 2
    run([path], chosen, tmp_path, rows=999)
    assert lines_of(log) == 3
    write_table(path, seed=1)
    run([path], chosen, tmp_path)
    assert lines_of(log) == 4


# -- failures ----------------------------------------------------------------------------------------------------------


def test_detectors_that_fail_are_reported_each_with_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    path, log = write_table(tmp_path / "1_a.npz"), str(tmp_path / "log")
    chosen = [
        Method("broken", "scikit-learn", broken),
        Method("raw", "scikit-learn", broken, raw=True),
        Method("killed", "scikit-learn", killed),
        Method("undefined", "scikit-learn", undefined),
        Method("distance", "scikit-learn", partial(distance, log=log)),
    ]
    found = {one.line: one for one in run([path], chosen, tmp_path)}
    # The error's own words say what the detector was given: standardised rows, or rows as they are.
    assert found["broken"].error == "RuntimeError: mean 0.00, deviation 1.00, float64"
    assert "mean 9" in str(found["raw"].error) or "mean 10" in str(found["raw"].error)
    assert "exit code 7" in str(found["killed"].error)
    assert "NaN" in str(found["undefined"].error)
    assert all(found[name].figures is None for name in ("broken", "raw", "killed", "undefined"))
    assert found["distance"].figures is not None


def test_a_detector_over_the_limit_is_ended_reported_and_tried_again_only_with_more_time(tmp_path: Path) -> None:
    path, log = write_table(tmp_path / "1_a.npz"), str(tmp_path / "log")
    chosen = [Method("slow", "scikit-learn", partial(slow, log=log))]
    began = time.perf_counter()
    (one,) = run([path], chosen, tmp_path, limit=3.0)
    assert time.perf_counter() - began < 30
    assert (one.figures, one.error, one.limit) == (None, "over 3 s", 3.0)
    assert lines_of(log) == 1
    assert run([path], chosen, tmp_path, limit=3.0) == [one]
    assert lines_of(log) == 1
    assert one.stands(2.0)
    assert not one.stands(3.5)


def test_what_failed_is_tried_again_and_what_comes_of_it_is_kept(tmp_path: Path) -> None:
    path, log = write_table(tmp_path / "1_a.npz"), str(tmp_path / "log")
    chosen = [Method("mending", "scikit-learn", partial(mending, log=log))]
    (first,), (second,), (third,) = (run([path], chosen, tmp_path) for _ in range(3))
    assert first.error == "RuntimeError: not yet"
    assert second.figures is not None
    assert third == second
    assert lines_of(log) == 2


# -- what is printed ---------------------------------------------------------------------------------------------------


def figures(auroc: float, *, fit: float = 1.0, seconds: float = 1.0) -> Figures:
    return Figures(auroc, auroc / 2, fit, seconds, 10, 100)


FOUND: dict[str, dict[str, Figures | None]] = {
    "1_a": {"flowguard": figures(0.9), "flowguard mixed": figures(0.7), "KNN": figures(0.8), "LOF": figures(0.6)},
    "2_b": {"flowguard": figures(0.5), "flowguard mixed": figures(0.95), "KNN": figures(0.9), "LOF": None},
    "3_c": {"flowguard": figures(0.6), "flowguard mixed": figures(0.6), "KNN": figures(0.7), "LOF": figures(0.5)},
}


def test_means_over_seeds_need_a_figure_of_every_seed() -> None:
    good = Outcome("1_a", "KNN", 0, figures(0.8, fit=1.0))
    better = Outcome("1_a", "KNN", 1, figures(0.9, fit=3.0))
    one = detection.means([good, better])["1_a"]["KNN"]
    assert one is not None
    assert (one.auroc, one.fit_seconds) == (pytest.approx(0.85), 2.0)
    assert detection.means([good, Outcome("1_a", "KNN", 1, None, "over 4 s", 4.0)]) == {"1_a": {"KNN": None}}


def test_a_detector_that_fails_on_many_tables_takes_none_from_the_others() -> None:
    assert detection.compared(FOUND) == ["1_a", "2_b", "3_c"]
    never = {table: {**lines, "OCSVM": None} for table, lines in FOUND.items()}
    assert detection.compared(never) == ["1_a", "2_b", "3_c"]


def test_a_table_that_a_detector_rarely_fails_on_is_compared_by_none() -> None:
    many = {f"{number}_t": dict(FOUND["1_a"]) for number in range(20)}
    many["7_t"]["KNN"] = None
    assert detection.compared(many) == [table for table in many if table != "7_t"]


def test_wins_of_flowguard_are_against_the_peers_and_those_of_a_peer_against_flowguard_as_it_comes() -> None:
    same = ["1_a", "3_c"]
    won = {line: detection.won(FOUND, same, line) for line in FOUND["1_a"]}
    assert won == {"flowguard": 1, "flowguard mixed": 0, "KNN": 1, "LOF": 0}


def test_gaps_are_to_the_median_peer_also_where_a_peer_failed() -> None:
    assert detection.gaps(FOUND, "flowguard") == pytest.approx({"1_a": 0.2, "2_b": -0.4, "3_c": 0.0})
    assert detection.gaps(FOUND, "LOF") == pytest.approx({"1_a": -0.1, "3_c": -0.1})


def output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: object) -> str:
    monkeypatch.setattr(sys, "argv", ["detection.py", *map(str, options)])
    monkeypatch.setattr(detection, "prepare", lambda: None)
    detection.main()
    return capsys.readouterr().out


def test_the_command_prints_the_halves_apart_with_the_count_of_tables_and_names_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 16):
        write_table(tmp_path / f"adbench/{number}_t.npz")
    broken_at_last = [*methods()[1:2], Method("broken", "scikit-learn", broken)]
    monkeypatch.setattr(detection, "methods", lambda scores=False, families=False: broken_at_last)
    options = ("--data", tmp_path, "--results", tmp_path / "kept", "--tables", "14,15", "--seeds", "0")
    text = output(monkeypatch, capsys, *options)
    assert "No figure: broken on 14_t, seed 0: RuntimeError: mean" in text
    assert "13, 14, on which choices were made" in text
    assert "The other tables" in text
    assert "over 2 of 2 tables; broken: no figure at all" in text
    assert "failed" in text


def test_without_pyod_the_command_says_which_peers_are_left_out_and_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "adbench/1_t.npz")
    monkeypatch.setattr(detection, "installed", lambda library: library != "pyod")
    options = ("--data", tmp_path, "--results", tmp_path / "kept", "--detectors", "knn,ecod,HBOS", "--seeds", "0")
    text = output(monkeypatch, capsys, *options)
    assert "Left out, as PyOD is not installed: ECOD, HBOS" in text
    assert "pip install -c constraints.txt -e '.[bench]'" in text
    assert "KNN" in text.split("All tables")[1]


def test_without_data_the_command_says_that_it_skipped_and_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join(output(monkeypatch, capsys, "--data", tmp_path).split())
    assert "Skipped: there is no table" in text
    assert "--data" in text


def test_a_detector_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="no detector nope; expected some of flowguard, KNN"):
        detection.asked(methods(), "KNN,nope")
