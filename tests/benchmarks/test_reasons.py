"""The benchmark of reasons: what is altered, what counts as first, and that a run goes on where it was."""

from __future__ import annotations

import datetime as dt
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import reasons
from reasons import Outcome, Source, clustered, covered
from reasons_methods import Fitted, Judged, Method, conformal, judge, methods
from reasons_records import Conditional, Records, altered, as_numbers, chosen, from_table, read, write
from reasons_tables import Share

from tests.benchmarks.small_table import write_table


def related(rows: int = 900, *, seed: int = 0) -> pd.DataFrame:
    """b is twice a with a deviation of 0.5, c a whole number of its own, d never moves."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    return pd.DataFrame(
        {"a": a, "b": 2 * a + rng.normal(0, 0.5, rows), "c": rng.poisson(30, rows).astype(float), "d": 7.0}
    )


def dealt(*, features: tuple[str, ...] = ("a", "b", "c", "d")) -> Records:
    parts = (related(900, seed=0), related(400, seed=1), related(500, seed=2))
    return Records("made", features, *parts, unit=np.arange(500) // 10)


# -- altering --------------------------------------------------------------------------------------------------------


def test_one_column_is_replaced_six_to_ten_deviations_off_in_both_directions_and_nothing_else() -> None:
    records = altered(dealt(), count=300, seed=0)
    assert len(records.altered) == len(records.what) == 300
    assert set(records.what["column"]) == {"a", "b", "c"}, "a column that never moves cannot be altered"
    assert records.what["column"].value_counts().to_dict() == dict.fromkeys("abc", 100)
    assert (records.what["steps"] > 0).sum() == 150
    assert records.what["steps"].abs().between(6, 10).all()
    before = records.held.iloc[records.what["row"]].reset_index(drop=True)
    differs = records.altered != before
    assert (differs.sum(axis=1) == 1).all()
    assert (differs.idxmax(axis=1) == records.what["column"]).all()
    of_b = records.what["column"] == "b"
    off = (records.altered["b"] - 2 * records.altered["a"])[of_b]
    # Boosting on 900 rows finds the line and its deviation of 0.5 roughly, the worst at the ends of the line.
    assert off.abs().quantile(0.05) > 6 * 0.5 * 0.8
    assert off.abs().min() > 4 * 0.5
    assert (np.sign(off) == np.sign(records.what["steps"][of_b])).all()
    of_c = records.what["column"] == "c"
    assert (records.altered["c"][of_c] % 1 == 0).all()
    # Of b, of deviation 2, a value 3 to 5 off what a says lies within its own range now and then; of c never.
    assert records.what["inside"][of_b].any()
    assert not records.what["inside"][of_c].any()


def test_context_and_records_that_are_odd_already_are_left_alone() -> None:
    given = dealt(features=("b",))
    given.held.loc[:249, "b"] += 40
    records = altered(given, count=100, seed=0)
    assert set(records.what["column"]) == {"b"}
    odd = records.held["b"] > 20
    assert odd.sum() == 250
    assert not odd.iloc[records.what["row"]].any()


def test_the_deviation_follows_the_record_and_is_never_below_that_of_all() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, 3000)
    frame = pd.DataFrame({"x": x, "y": rng.normal(0, np.where(x > 0.5, 3.0, 1.0))})
    model = Conditional.fit(frame, "y", seed=0)
    assert model is not None
    mean, deviation = model.of(pd.DataFrame({"x": [0.2, 0.8], "y": [0.0, 0.0]}))
    assert np.abs(mean).max() < 1.5
    assert deviation[0] == pytest.approx(model.least)
    assert deviation[0] == pytest.approx(np.sqrt((1 + 9) / 2), rel=0.15)
    assert deviation[1] == pytest.approx(3.0, rel=0.25)
    assert Conditional.fit(pd.DataFrame({"x": x, "y": np.round(x)}), "y", seed=0) is None


def test_a_deviation_is_never_beyond_the_largest_residual() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=600), "y": rng.normal(size=600)})
    frame.loc[::150, "y"] = 1e6
    model = Conditional.fit(frame, "y", seed=0)
    assert model is not None
    _, deviation = model.of(frame)
    assert model.least < deviation.max() <= model.most < 2e6


def test_text_and_dates_become_numbers() -> None:
    like = pd.DataFrame({"level": ["u", "v", "u"], "day": [dt.date(2013, 1, 1)] * 3, "n": [1, 2, 3]})
    frame = pd.DataFrame({"level": ["v", "w"], "day": [dt.date(2013, 1, 1), dt.date(2013, 2, 3)], "n": [4, None]})
    found = as_numbers(frame, like)
    assert found.columns.tolist() == ["level", "day of week", "day of year", "n"]
    assert found.iloc[:, :3].to_numpy().tolist() == [[1, 1, 1], [-1, 6, 34]]
    assert np.isnan(found["n"][1])


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    records = altered(dealt(), count=20, seed=0)
    write(records, tmp_path / "kept")
    again = read(tmp_path / "kept")
    assert (again.name, again.features, again.pipeline) == ("made", ("a", "b", "c", "d"), None)
    for name in ("fit", "calibration", "held", "altered", "what"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(records, name))
    np.testing.assert_array_equal(again.unit, records.unit)


def test_tables_are_chosen_by_their_size_and_columns_alone(tmp_path: Path) -> None:
    write_table(tmp_path / "1_small.npz", normal=1999, columns=5)
    write_table(tmp_path / "2_narrow.npz", normal=3000, columns=4)
    write_table(tmp_path / "3_fits.npz", normal=2500, columns=5)
    write_table(tmp_path / "4_larger.npz", normal=2600, columns=40)
    path = write_table(tmp_path / "5_few.npz", normal=3000, columns=5)
    with np.load(path) as arrays:
        x, y = arrays["X"], arrays["y"]
    x[:, 2] = np.clip(np.round(x[:, 2]), 95, 105)
    np.savez(path, X=x, y=y)
    assert [one.stem for one in chosen(tmp_path)] == ["4_larger", "3_fits"]
    records = from_table(tmp_path / "3_fits.npz", seed=0, rows=10_000)
    assert [len(part) for part in (records.fit, records.calibration, records.held)] == [1000, 250, 1250]
    assert records.held.to_numpy().max() < 200, "anomalies are no ordinary records"


# -- figures ---------------------------------------------------------------------------------------------------------


def outcome(flagged: list[bool], first: list[str], column: str = "ab", seed: int = 0) -> Outcome:
    judged = Judged(flagged, [list(names) for names in first], 100, 1, 1.0, len(first), 0.5)
    return Outcome("made", "z-scores", seed, tuple(column), tuple(name == "a" for name in column), judged)


def test_only_flagged_records_count_and_only_the_altered_column_is_right() -> None:
    one = outcome([True, True, False, True], ["a", "ab", "", "b"], "abab")
    assert (Share.among([one]).value, Share.among([one]).of) == (pytest.approx(2 / 3), 3)
    assert (Share.among([one], inside=True).value, Share.among([one], inside=True).of) == (1.0, 1)
    assert Share.among([one], column="b").value == 0.5
    assert Share.among([one], paired=True).value == 1.0
    other = outcome([False, False, True, True], ["", "", "a", "b"], "abab")
    assert (Share.among([one], by=[other]).value, Share.among([one], by=[other]).of) == (0.5, 2)
    nothing = Share.among([outcome([False, False], ["", ""])])
    assert (str(nothing), nothing.of) == ("-", 0)
    both = Share.mean([Share.among([one]), nothing, Share(1.0, 0.0, 9)])
    assert both.value == pytest.approx((2 / 3 + 1) / 2)


def test_the_error_is_that_of_clusters() -> None:
    rng = np.random.default_rng(0)
    means = []
    for _ in range(400):
        values = np.repeat(rng.random(20) < 0.7, 10).astype(float)
        mean, error = clustered(values, np.repeat(np.arange(20), 10))
        means.append((mean, error))
    spread = np.std([mean for mean, _ in means])
    assert np.mean([error for _, error in means]) == pytest.approx(spread, rel=0.1)


def test_values_without_a_range_are_not_covered_nor_missed() -> None:
    held = pd.DataFrame({"a": [1.0, 2.0, np.nan, 9.0, 0.0]})
    records = Records("made", ("a",), held, held, held, np.array([0, 0, 1, 1, 2]))
    bounds = np.array([0.0, 0.0, 0.0, 0.0, np.nan]), np.array([5.0, 5.0, 5.0, 5.0, np.nan])
    assert covered(records, {"a": bounds})["a"].values == 3
    assert covered(records, {"a": bounds})["a"].covered == pytest.approx(2 / 3)


def test_p_values_are_ranks_among_what_was_held_out() -> None:
    rng = np.random.default_rng(0)
    found = conformal(rng.normal(size=999), rng.normal(size=20_000))
    assert np.mean(found <= 0.1) == pytest.approx(0.1, abs=0.03)
    assert conformal(np.zeros(99), np.array([1.0, 0.0, np.inf])).tolist() == [0.01, 1.0, 0.01]


# -- methods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [one.name for one in methods() if one.name != "flowguard"])
def test_every_peer_names_the_column_that_gives_a_record_away(name: str) -> None:
    (method,) = [one for one in methods() if one.name == name]
    if method.library == "shap":
        pytest.importorskip("shap")
    records = altered(dealt(), count=90, seed=0)
    judged = judge(method, records, level=0.05, seed=0)
    assert judged.alarms / judged.held < 0.12
    assert judged.explained == len(judged.first) == 90
    said = zip(judged.first, records.what["column"], judged.flagged, strict=True)
    hits = [first == [column] for first, column, flag in said if flag]
    assert len(hits) > 10
    assert np.mean(hits) > 0.8


def test_only_features_can_be_named_and_missing_values_are_no_reason() -> None:
    given = dealt(features=("b", "c"))
    given.fit.loc[::7, "c"] = np.nan
    records = altered(given, count=40, seed=0)
    for method in methods():
        if method.library == "numpy":
            judged = judge(method, records, level=0.05, seed=0)
            assert {name for names in judged.first for name in names} <= {"b", "c"}


def test_flowguard_names_the_column_too() -> None:
    (method,) = [one for one in methods() if one.name == "flowguard"]
    records = altered(dealt(features=("a", "b", "c")), count=60, seed=0)
    few = Records(
        records.name,
        records.features,
        *(part[["a", "b", "c"]] for part in (records.fit, records.calibration, records.held)),
        records.unit,
        records.altered[["a", "b", "c"]],
        records.what,
    )
    judged = judge(method, few, level=0.05, seed=0)
    hits = [first[0] == column for first, column in zip(judged.first, few.what["column"], strict=True) if first]
    assert judged.explained == sum(judged.flagged) == len(hits) > 20
    assert np.mean(hits) > 0.8


# -- running ---------------------------------------------------------------------------------------------------------


def counting(records: Records, seed: int, *, log: str, fails: bool = False) -> Fitted:
    """Every record is strange for its first column; every fit leaves a line. Runs in the measuring process."""
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{records.name} {seed}\n")
    if fails:
        raise RuntimeError("no figure")
    return Fitted(lambda frame: np.zeros(len(frame)), lambda frame: [[records.features[0]]] * len(frame))


def run(path: Path, lines: list[Method], folder: Path, **given: Any) -> list[Outcome]:
    given = {"seeds": [0], "rows": 10_000, "count": 30, "level": 0.01, "limit": 120.0, **given}
    source = Source(path.stem, path, path.read_bytes().hex()[:64])
    return list(reasons.run([source], lines, data=folder, results=folder / "results", **given))


def test_a_run_goes_on_where_it_was_and_failures_are_told_and_tried_again(tmp_path: Path) -> None:
    path, log = write_table(tmp_path / "1_a.npz", normal=300, columns=3), tmp_path / "log"
    lines = [
        Method("counting", "numpy", partial(counting, log=str(log))),
        Method("failing", "numpy", partial(counting, log=str(log), fails=True)),
    ]
    first, failed = run(path, lines, tmp_path)
    assert Share.among([first]).of == 30
    assert Share.among([first]).value == pytest.approx(1 / 3)
    assert (failed.judged, failed.error) == (None, "RuntimeError: no figure")
    assert log.read_text().splitlines() == ["1_a 0"] * 2
    again, _ = run(path, lines, tmp_path)
    assert again == first
    assert len(log.read_text().splitlines()) == 3
    run(path, lines[:1], tmp_path, level=0.02)
    run(path, lines[:1], tmp_path, count=29)
    run(path, lines[:1], tmp_path, fresh=True)
    assert len(log.read_text().splitlines()) == 6


def test_the_command_prints_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_table(tmp_path / "1_a.npz", normal=300, columns=3)
    monkeypatch.setattr(reasons, "sources", lambda data: [Source("1_a", path, "x")])
    monkeypatch.setattr(reasons, "methods", lambda: [Method("counting", "numpy", partial(counting, log="/dev/null"))])
    monkeypatch.setattr(reasons, "prepare", lambda: None)
    options = ["--seeds", "0", "--records", "30", "--results", str(tmp_path / "kept"), "--data", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["reasons.py", *options])
    reasons.main()
    printed = capsys.readouterr().out
    (line,) = [one for one in printed.splitlines() if one.split()[:2] == ["1_a", "30"]]
    assert "33.3" in line
    assert "Skipped: flights" in printed


def test_without_data_the_command_says_that_it_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reasons, "installed", lambda library: False)
    monkeypatch.setattr(sys, "argv", ["reasons.py", "--data", str(tmp_path)])
    reasons.main()
    printed = " ".join(capsys.readouterr().out.split())
    for name in ("flights", "metro_traffic", "there is no table"):
        assert f"Skipped: {name}" in printed
