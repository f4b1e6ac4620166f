from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.tables import atomic_json, atomic_parquet, atomic_path, atomic_text

SCHEMA = pa.schema([("x", pa.int64()), ("s", pa.string())])


def batches(cuts, n=5000):
    whole = pa.record_batch({"x": np.arange(n), "s": [f"v{i % 7}" for i in range(n)]}, schema=SCHEMA)
    return [whole.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, n])]


def test_the_same_records_give_the_same_bytes_however_they_were_cut(tmp_path):
    for number, cuts in enumerate([[], [1, 2, 3], [999, 1000, 1001, 4999], list(range(0, 5000, 77))]):
        with atomic_parquet(tmp_path / f"{number}.parquet", SCHEMA, row_group_rows=1000) as write:
            for batch in batches(cuts):
                write(batch)
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1
    file = pq.ParquetFile(tmp_path / "0.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [1000] * 5
    assert file.read()["x"].to_pylist() == list(range(5000))


def test_nothing_is_seen_before_the_end_and_nothing_is_left_after_an_error(tmp_path):
    target = tmp_path / "deep/x.parquet"
    with pytest.raises(RuntimeError), atomic_parquet(target, SCHEMA) as write:  # noqa: PT012 - the block is the point
        write(batches([])[0])
        assert not target.exists()
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    atomic_text(target, "old")
    with pytest.raises(pa.ArrowInvalid), atomic_parquet(target, SCHEMA) as write:
        write(pa.record_batch({"y": [1]}))
    assert target.read_text() == "old"
    assert [file.name for file in target.parent.iterdir()] == ["x.parquet"]


def test_an_empty_table_is_a_table(tmp_path):
    with atomic_parquet(tmp_path / "x.parquet", SCHEMA):
        pass
    assert pq.read_table(tmp_path / "x.parquet").schema == SCHEMA


def test_json_is_exact_sorted_and_refuses_what_json_lacks(tmp_path):
    atomic_json(tmp_path / "x.json", {"b": 0.1, "a": "é"})
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 0.1\n}\n'
    with pytest.raises(ValueError):
        atomic_json(tmp_path / "x.json", {"a": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["b"] == 0.1


def test_a_path_can_be_written_by_others(tmp_path):
    with atomic_path(tmp_path / "x.txt") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith("."), "readers of folders leave it out"
        temporary.write_text("done")
    assert (tmp_path / "x.txt").read_text() == "done"
