"""The benchmark on mixed columns: what each detector is given, families of attacks, and kept results."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import mixed
import numpy as np
import pandas as pd
import pytest
from detection_peers import Method, methods
from detection_tables import Outcome
from mixed_rows import connections


def write_connections(folder: Path, *, normal: int = 60, seed: int = 0) -> Path:
    """Files in the form of NSL-KDD: two numbers and two text columns, one of them with a level that training lacks."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)

    def rows(label: str, count: int, *, centre: float, service: str) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "bytes": np.where(rng.random(count) < 0.3, 0, rng.poisson(centre, count)),
                "service": service,
                "rate": rng.random(count).round(2),
                "flag": rng.choice(["SF", "S0"], count),
                "label": label,
                "difficulty": 21,
            }
        )

    ordinary = partial(rows, "normal", centre=20.0, service="http")
    attacks = [
        rows("neptune", 8, centre=500.0, service="http"),
        rows("mscan", 6, centre=20.0, service="gopher"),
    ]
    train = pd.concat([ordinary(normal), attacks[0].head(3)])
    for name, frame in {"KDDTrain_20Percent": train, "KDDTest": pd.concat([ordinary(normal), *attacks])}.items():
        frame.to_csv(folder / f"{name}.txt", header=False, index=False)
    (folder / "field_names.csv").write_text(
        "bytes,continuous\nservice,symbolic\nrate,continuous\nflag,symbolic\n", encoding="utf-8"
    )
    # The published list has these line ends.
    (folder / "attack_types.csv").write_bytes(b"neptune,dos\rnormal,normal\runknown,unknown")
    return folder


# Fits that run in the measuring process, so at the module's level.


def first_column(train: Any, seed: int, *, log: str) -> dict[str, Any]:
    """The first column of numbers; every fit leaves a line with what it was given."""
    kind = "table" if isinstance(train, pd.DataFrame) else f"array {train.shape[1]}"
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{seed} {kind}\n")
    return {"": lambda rows: np.asarray(rows["bytes"] if isinstance(rows, pd.DataFrame) else rows[:, -2])}


def broken(train: Any, seed: int) -> dict[str, Any]:
    raise RuntimeError("no fit")


def run(folder: Path, chosen: Sequence[Method], results: Path, **given: Any) -> list[Outcome]:
    given = {"seeds": [0], "rows": None, "limit": 60.0, **given}
    return list(mixed.run(folder, chosen, results=results, **given))


def test_training_rows_are_the_normal_ones_and_neither_label_nor_difficulty_is_a_column(tmp_path: Path) -> None:
    dealt = connections(write_connections(tmp_path / "nsl_kdd"))
    assert list(dealt.train.columns) == list(dealt.test.columns) == ["bytes", "service", "rate", "flag"]
    assert (len(dealt.train), len(dealt.test), int(dealt.label.sum())) == (60, 74, 14)
    assert dealt.train["bytes"].max() < 100


def test_families_are_those_of_the_list_and_attacks_that_it_does_not_name_are_new(tmp_path: Path) -> None:
    family = connections(write_connections(tmp_path / "nsl_kdd")).family
    assert {name: int((family == name).sum()) for name in set(family.tolist())} == {"normal": 60, "dos": 8, "new": 6}


def test_text_becomes_a_column_for_each_level_of_training_and_other_levels_give_zeros(tmp_path: Path) -> None:
    train, test = connections(write_connections(tmp_path / "nsl_kdd")).as_numbers()
    # http, then S0 and SF, then the two numbers.
    assert train.shape[1] == test.shape[1] == 5
    assert (train[:, 0] == 1).all()
    assert test[-6:, 0].tolist() == [0] * 6
    assert (test[:, 1] + test[:, 2] == 1).all()


def test_a_file_with_another_number_of_columns_is_refused(tmp_path: Path) -> None:
    folder = write_connections(tmp_path / "nsl_kdd")
    (folder / "field_names.csv").write_text("bytes,continuous\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"has 6 columns; expected the 1 of field_names\.csv, label and difficulty"):
        connections(folder)


def test_raw_detectors_get_the_table_and_others_numbers_and_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    folder, log = write_connections(tmp_path / "nsl_kdd"), tmp_path / "log"
    fit = partial(first_column, log=str(log))
    chosen = [Method("raw", "scikit-learn", fit, raw=True), Method("numbers", "scikit-learn", fit)]
    first = run(folder, chosen, tmp_path / "kept", seeds=[0, 1])
    assert log.read_text().splitlines() == ["0 table", "1 table", "0 array 5", "1 array 5"]
    assert run(folder, chosen, tmp_path / "kept", seeds=[0, 1]) == first
    assert len(log.read_text().splitlines()) == 4
    areas = {(one.line, one.table): one.figures.auroc for one in first if one.figures is not None and one.seed == 0}
    assert set(areas) == {(line, name) for line in ("raw", "numbers") for name in ("all attacks", "dos", "new")}
    # Standardising does not change how one column ranks the rows.
    assert areas["raw", "dos"] == pytest.approx(areas["numbers", "dos"])
    assert areas["raw", "dos"] > areas["raw", "all attacks"] > areas["raw", "new"]
    write_connections(folder, seed=1)
    run(folder, chosen[:1], tmp_path / "kept")
    assert len(log.read_text().splitlines()) == 5


@pytest.mark.filterwarnings("ignore:The table is too small")
def test_flowguard_and_peers_find_what_nobody_could_overlook(tmp_path: Path) -> None:
    folder = write_connections(tmp_path / "nsl_kdd", normal=300)
    chosen = [one for one in methods() if one.name in ("flowguard", "KNN")]
    areas = {}
    for method in chosen:
        for line, parts in mixed.measure(method, folder, seed=0, rows=None).items():
            areas[line] = {name: one.auroc for name, one in parts.items() if not isinstance(one, str)}
    assert set(areas) == {"flowguard", "KNN"}
    # A level that training never had is what a one-hot column cannot show and a probability can.
    assert areas["flowguard"]["new"] > 0.95
    assert areas["KNN"]["dos"] > 0.5


def test_the_command_prints_both_tables_best_first_and_names_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_connections(tmp_path / "nsl_kdd")
    fit = partial(first_column, log=str(tmp_path / "log"))
    chosen = [Method("broken", "scikit-learn", broken), Method("bytes", "scikit-learn", fit, raw=True)]
    monkeypatch.setattr(mixed, "methods", lambda scores=False: chosen)
    options = ["--data", str(tmp_path), "--results", str(tmp_path / "kept"), "--seeds", "0"]
    monkeypatch.setattr(sys, "argv", ["mixed.py", *options])
    monkeypatch.setattr(mixed, "prepare", lambda: None)
    mixed.main()
    text = capsys.readouterr().out
    assert "No figure: broken, seed 0: RuntimeError: no fit" in text
    above, below = text.split("AUROC by family of attacks")
    assert above.index("bytes") < above.index("failed")
    assert "8 rows" in below
    assert "6 rows" in below


def test_without_data_the_command_says_that_it_skipped_and_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mixed.py", "--data", str(tmp_path)])
    mixed.main()
    text = " ".join(capsys.readouterr().out.split())
    assert "Skipped: there is no KDDTrain_20Percent.txt" in text
    assert "--data" in text
