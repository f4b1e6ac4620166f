"""How the rows of the detection benchmark are dealt out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from detection_tables import named, split, tables
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.small_table import write_table


@settings(max_examples=30, deadline=None)
@given(normal=st.integers(2, 60), odd=st.integers(1, 20), seed=st.integers(0, 5))
def test_training_has_no_anomaly_and_the_parts_share_no_row(
    tmp_path_factory: pytest.TempPathFactory, normal: int, odd: int, seed: int
) -> None:
    path = write_table(tmp_path_factory.mktemp("split") / "1_a.npz", normal=normal, odd=odd)
    with np.load(path) as arrays:
        x, y = arrays["X"], arrays["y"]
    dealt = split(path, seed=seed)
    assert not y[dealt.train_rows].any()
    assert len(dealt.train) == normal // 2
    assert sorted([*dealt.train_rows, *dealt.test_rows]) == list(range(normal + odd))
    np.testing.assert_array_equal(dealt.train, x[dealt.train_rows])
    np.testing.assert_array_equal(dealt.test, x[dealt.test_rows])
    np.testing.assert_array_equal(dealt.label, y[dealt.test_rows] == 1)


def test_a_seed_deals_the_same_rows_each_time_and_another_seed_others(tmp_path: Path) -> None:
    path = write_table(tmp_path / "1_a.npz")
    first, again, other = split(path, seed=0), split(path, seed=0), split(path, seed=1)
    np.testing.assert_array_equal(first.train_rows, again.train_rows)
    np.testing.assert_array_equal(first.test_rows, again.test_rows)
    assert set(first.train_rows) != set(other.train_rows)


def test_no_more_rows_are_kept_than_asked_for_and_they_are_no_head_of_the_file(tmp_path: Path) -> None:
    path = write_table(tmp_path / "1_a.npz", normal=400, odd=100)
    dealt = split(path, rows=100, seed=0)
    used = [*dealt.train_rows, *dealt.test_rows]
    assert len(used) == 100
    assert max(used) > 300


def test_rows_keep_the_type_of_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "1_a.npz", X=np.arange(20, dtype=np.uint8).reshape(10, 2), y=[0] * 8 + [1] * 2)
    assert split(tmp_path / "1_a.npz", seed=0).train.dtype == np.uint8


def test_a_table_without_anomalies_is_refused_with_what_it_has(tmp_path: Path) -> None:
    np.savez(tmp_path / "1_a.npz", X=np.zeros((10, 2)), y=np.zeros(10))
    with pytest.raises(ValueError, match=r"1_a\.npz has 10 normal rows and 0 anomalies"):
        split(tmp_path / "1_a.npz", seed=0)


def test_tables_come_by_number_and_are_asked_for_by_number_or_name(tmp_path: Path) -> None:
    for name in ("10_b", "2_a.x", "1_c"):
        write_table(tmp_path / f"{name}.npz")
    every = tables(tmp_path)
    assert [path.stem for path in every] == ["1_c", "2_a.x", "10_b"]
    assert [path.stem for path in named(every, "10,a.x")] == ["2_a.x", "10_b"]
    assert named(every, None) == every
    with pytest.raises(ValueError, match="no table 3"):
        named(every, "3,1")
