from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowguard.tables.naming import batch_names


def test_plain_names_stand_and_altered_ones_carry_a_hash():
    names = batch_names(["2026-11-01.parquet", "day=1", "Größe.parquet", "a b.parquet", "x/y.parquet", "_z.parquet"])
    assert names[:3] == ["2026-11-01", "day=1", "Größe"]
    assert [name[:-9] for name in names[3:]] == ["a_b", "x_y", "x_z"]


def test_names_that_differ_in_case_alone_are_told_apart():
    one, other = batch_names(["A.parquet", "a.parquet"])
    assert one.casefold() != other.casefold()


@given(st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=8, unique=True))
def test_any_paths_get_distinct_safe_names(paths):
    names = batch_names(paths)
    assert len({name.casefold() for name in names}) == len(set(paths))
    for name in names:
        assert name not in (".", "..")
        assert not name.startswith(".")
        assert not set(name) & set('/\\:*?"<>|\n\0 %')
        assert len(name.encode()) <= 140
