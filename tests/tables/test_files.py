from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.errors import SchemaError, SourceError
from flowguard.tables import Fingerprint, RecordIds, open_files
from tests.tables.tables import put, rows

DAY = dt.date(2026, 11, 1)


def days(*numbers):
    return [None if n is None else dt.datetime(2026, 11, n, 5) for n in numbers]


def test_a_folder_is_read_file_by_file(tmp_path):
    for name in ("b", "a"):
        put(tmp_path / f"data/{name}.parquet", {"x": [1, 2], "name": [name, name]})
    put(tmp_path / "data/_old/c.parquet", {"x": [9]})
    put(tmp_path / "data/.c.parquet", {"x": [9]})
    source = open_files("data", root=tmp_path)
    assert [(batch.name, batch.rows) for batch in source.batches()] == [("a", 2), ("b", 2)]
    assert rows(source.read(["x"], batch="b")) == [{"x": 1}, {"x": 2}]
    assert rows(source.read()) == [{"x": x, "name": name} for name in "ab" for x in (1, 2)]
    assert source.describe() == "data (2 Parquet files)"


def test_a_glob_a_list_and_an_absolute_path_find_the_same_file(tmp_path):
    file = put(tmp_path / "data/2026/jan.parquet", {"x": [1]})
    for path in ("data/**/*.parquet", ["data/2026/jan.parquet", str(file)], str(file), file.as_uri()):
        assert rows(open_files(path, root=tmp_path).read()) == [{"x": 1}], path


def test_columns_come_in_the_order_asked_for_and_names_with_dots_are_names(tmp_path):
    put(tmp_path / "x.parquet", {"a": [1], "a.b": [2], "größe": [3], 'say "x"': [4]})
    source = open_files("x.parquet", root=tmp_path)
    assert rows(source.read(["a.b", "a"])) == [{"a.b": 2, "a": 1}]
    assert next(source.read(["a.b", "a"])).schema.names == ["a.b", "a"]
    assert rows(source.read(["größe", 'say "x"'])) == [{"größe": 3, 'say "x"': 4}]


def test_the_chunk_size_is_kept(tmp_path):
    put(tmp_path / "x.parquet", {"x": list(range(2500))}, group=700)
    put(tmp_path / "y.parquet", {"x": list(range(2500, 2600))})
    source = open_files("*.parquet", root=tmp_path)
    pieces = list(source.read(chunk_rows=1000))
    assert [piece.num_rows for piece in pieces] == [1000, 1000, 600]
    assert [row["x"] for row in rows(pieces)] == list(range(2600))


def test_partitions_are_batches_and_columns(tmp_path):
    for number in (1, 2):
        for part in "ab":
            put(tmp_path / f"d/day=2026-11-0{number}/n=0{number}/{part}.parquet", {"x": [number]})
    source = open_files("d", root=tmp_path, batch="partition")
    assert source.schema() == pa.schema({"x": pa.int64(), "day": pa.date32(), "n": pa.int64()})
    assert [(b.name, b.rows) for b in source.batches()] == [("day=2026-11-01,n=01", 2), ("day=2026-11-02,n=02", 2)]
    assert rows(source.read(["n", "day"], batch="day=2026-11-02,n=02")) == [{"n": 2, "day": dt.date(2026, 11, 2)}] * 2
    assert sum(piece.num_rows for piece in source.read(["day"])) == 4


def test_a_partition_of_text_may_be_escaped_or_missing(tmp_path):
    put(tmp_path / "d/city=S%C3%A3o%20Paulo/x.parquet", {"x": [1]})
    put(tmp_path / "d/city=__HIVE_DEFAULT_PARTITION__/x.parquet", {"x": [2]})
    source = open_files("d", root=tmp_path, batch="partition")
    assert sorted(rows(source.read()), key=lambda row: row["x"]) == [
        {"x": 1, "city": "São Paulo"},
        {"x": 2, "city": None},
    ]
    for batch in source.batches():
        assert "/" not in batch.name
        assert " " not in batch.name


def test_days_are_batches_and_records_without_one_are_not_lost(tmp_path):
    put(tmp_path / "x.parquet", {"t": days(1, 3, None), "x": [1, 2, 3]})
    put(tmp_path / "y.parquet", {"t": days(3, 2), "x": [4, 5]})
    source = open_files("*.parquet", root=tmp_path, batch="day", time="t")
    found = {batch.name: batch.rows for batch in source.batches()}
    assert found == {"2026-11-01": 1, "2026-11-02": 1, "2026-11-03": 2, "undated": 1}
    assert rows(source.read(["x"], batch="2026-11-03")) == [{"x": 2}, {"x": 4}]
    assert rows(source.read(["x"], batch="undated")) == [{"x": 3}]
    assert [b.name for b in source.batches(since=DAY + dt.timedelta(1), until=dt.date(2026, 11, 3))] == ["2026-11-02"]


def test_since_until_and_exclude_choose_days(tmp_path):
    put(tmp_path / "x.parquet", {"t": days(1, 2, 3, 4, None), "x": [1, 2, 3, 4, 5]}, group=2)
    source = open_files("x.parquet", root=tmp_path, time="t")

    def xs(**period):
        return [row["x"] for row in rows(source.read(["x"], **period))]

    assert xs(since=dt.date(2026, 11, 2)) == [2, 3, 4]
    assert xs(until=dt.date(2026, 11, 3)) == [1, 2]
    assert xs(exclude=[(dt.date(2026, 11, 2), dt.date(2026, 11, 4))]) == [1, 4, 5]
    assert [batch.rows for batch in source.batches(since=dt.date(2026, 11, 2))] == [3]


def test_a_day_is_a_day_of_the_timestamps_own_zone(tmp_path):
    instant = dt.datetime(2026, 11, 2, 3, tzinfo=dt.UTC)  # still the first in New York
    for zone, day in (("UTC", "2026-11-02"), ("America/New_York", "2026-11-01")):
        put(tmp_path / "x.parquet", {"t": pa.array([instant], pa.timestamp("us", zone))})
        source = open_files("x.parquet", root=tmp_path, batch="day", time="t")
        assert [batch.name for batch in source.batches()] == [day]
        assert len(rows(source.read(batch=day))) == 1


def test_days_before_1970_are_days_too(tmp_path):
    put(tmp_path / "x.parquet", {"t": pa.array([dt.datetime(1969, 12, 31, 23)], pa.timestamp("ns"))})
    assert open_files("x.parquet", root=tmp_path, batch="day", time="t").batches()[0].name == "1969-12-31"


def test_row_groups_outside_the_days_are_not_read(tmp_path):
    file = put(tmp_path / "x.parquet", {"t": days(*range(1, 29)), "x": ["much text" * 50] * 28}, group=1)
    data = bytearray(file.read_bytes())
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(1)
    start = chunk.dictionary_page_offset
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size  # unreadable
    file.write_bytes(data)
    source = open_files("x.parquet", root=tmp_path, time="t")
    assert len(rows(source.read(since=dt.date(2026, 11, 20)))) == 9
    with pytest.raises(SourceError, match=r"x\.parquet is damaged"):
        rows(source.read())


def test_reading_holds_a_small_part_of_a_large_row_group(tmp_path):
    n = 1_200_000
    columns = {f"c{i}": np.random.default_rng(i).random(n) for i in range(4)}
    file = put(tmp_path / "x.parquet", columns, group=n)
    before = pa.total_allocated_bytes()
    read = most = 0
    for batch in open_files("x.parquet", root=tmp_path).read(chunk_rows=10_000):
        read += batch.num_rows
        most = max(most, pa.total_allocated_bytes() - before)
    assert read == n
    assert most < file.stat().st_size / 2


def test_types_that_differ_in_width_are_widened_and_dictionaries_are_values(tmp_path):
    put(
        tmp_path / "a.parquet",
        {"n": pa.array([1], pa.int32()), "s": pa.array(["u"]).dictionary_encode(), "z": pa.nulls(1)},
    )
    put(tmp_path / "b.parquet", {"n": pa.array([2.5, None]), "s": pa.array(["v", None]), "z": pa.array([True, None])})
    source = open_files("*.parquet", root=tmp_path)
    assert source.schema() == pa.schema({"n": pa.float64(), "s": pa.string(), "z": pa.bool_()})
    assert rows(source.read()) == [
        {"n": 1.0, "s": "u", "z": None},
        {"n": 2.5, "s": "v", "z": True},
        {"n": None, "s": None, "z": None},
    ]


def test_columns_that_differ_between_files_matter_only_when_needed(tmp_path):
    put(tmp_path / "a.parquet", {"x": [1], "amount": [1.5], "extra": [1]})
    put(tmp_path / "b.parquet", {"x": [2], "amount": ["1.5"]})
    source = open_files("*.parquet", root=tmp_path)
    assert [row["x"] for row in rows(source.read(["x"]))] == [1, 2]
    with pytest.raises(SchemaError, match=r"'amount'.*double in a\.parquet and string in b\.parquet"):
        source.read(["amount"])
    with pytest.raises(SchemaError, match=r"'extra'.*b\.parquet lacks it"):
        source.read(["extra"])


def test_files_of_one_name_in_two_folders_are_two_batches(tmp_path):
    put(tmp_path / "a/x.parquet", {"x": [1]})
    put(tmp_path / "b/x.parquet", {"x": [2]})
    names = [batch.name for batch in open_files(["a", "b"], root=tmp_path).batches()]
    assert len(set(names)) == 2
    source = open_files(".", root=tmp_path)
    assert {rows(source.read(batch=batch))[0]["x"] for batch in source.batches()} == {1, 2}


def test_a_batch_is_found_by_name_or_file_and_its_neighbour_is_suggested(tmp_path):
    put(tmp_path / "data/jan.parquet", {"x": [1]})
    put(tmp_path / "data/feb.parquet", {"x": [1]})
    source = open_files("data", root=tmp_path)
    for text in ("jan", "data/jan.parquet", str(tmp_path / "data/jan.parquet")):
        assert source.find_batch(text).name == "jan"
    with pytest.raises(SourceError, match=r"no batch 'jann'.*Did you mean jan\?"):
        source.find_batch("jann")
    with pytest.raises(SourceError, match="no batch 'jann'"):
        source.read(batch="jann")


def test_the_stamp_changes_when_a_file_is_written_again(tmp_path):
    for name in "ab":
        put(tmp_path / f"{name}.parquet", {"x": [1]})
    source = open_files("*.parquet", root=tmp_path)
    a, b = source.batches()
    before = source.stamp(a), source.stamp(b)
    put(tmp_path / "b.parquet", {"x": [1, 2]})
    assert source.stamp(a) == before[0]
    assert source.stamp(b) != before[1]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no.parquet", r"no\.parquet does not exist"),
        ("no/*.parquet", "matches no file"),
        ("empty", "folder without Parquet files"),
        ("gs://bucket/x", r"gs:// is not supported.*s3://"),
        ("s3://", "names no bucket"),
    ],
)
def test_a_path_that_finds_nothing_says_so(tmp_path, path, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=words):
        open_files(path, root=tmp_path)


def test_files_that_are_not_whole_parquet_are_named(tmp_path):
    whole = put(tmp_path / "whole.parquet", {"x": list(range(5000))}).read_bytes()
    for name, data, words in [
        ("csv", b"a,b\n1,2\n" * 10, "is not a Parquet file, or it is cut off"),
        ("cut", whole[: len(whole) // 2], "is not a Parquet file, or it is cut off"),
        ("nothing", b"", "is not a Parquet file, or it is cut off"),
        ("footer", whole[:-200] + b"\xff" * 190 + whole[-10:], "damaged|not a Parquet"),
    ]:
        (tmp_path / f"{name}.pq").write_bytes(data)
        with pytest.raises(SourceError, match=rf"{name}\.pq.*({words})"):
            open_files(f"{name}.pq", root=tmp_path).schema()


def test_an_empty_table_a_bare_folder_and_a_missing_time_column_are_refused(tmp_path):
    put(tmp_path / "x.parquet", {"x": pa.array([], pa.int64())})
    with pytest.raises(SourceError, match="is empty"):
        open_files("x.parquet", root=tmp_path).batches()
    with pytest.raises(SourceError, match="lies in no partition"):
        open_files("x.parquet", root=tmp_path, batch="partition")
    with pytest.raises(SourceError, match="need a time column"):
        open_files("x.parquet", root=tmp_path, batch="day")
    with pytest.raises(SourceError, match="names no time column"):
        open_files("x.parquet", root=tmp_path).read(since=DAY)
    put(tmp_path / "y.parquet", {"x": [1]})
    with pytest.raises(SchemaError, match=r"Time column 'x'.*int64; expected a date"):
        open_files("y.parquet", root=tmp_path, batch="day", time="x").batches()
    with pytest.raises(SchemaError, match="no column 'y'"):
        open_files("y.parquet", root=tmp_path).read(["y"])


values = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(allow_nan=True)), st.one_of(st.none(), st.text(max_size=5)), st.integers(-3, 3)
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(records=values, group=st.integers(1, 20), cut=st.integers(0, 40), chunk=st.integers(1, 50))
def test_however_a_table_is_cut_its_records_ids_and_fingerprint_are_the_same(
    tmp_path_factory, records, group, cut, chunk
):
    folder = tmp_path_factory.mktemp("cut")
    f, s, n = zip(*records)
    table = pa.table({"f": pa.array(f, pa.float64()), "s": pa.array(s, pa.string()), "n": pa.array(n, pa.int64())})
    put(folder / "whole.parquet", table)
    put(folder / "parts/a.parquet", table.slice(0, cut), group=group)
    put(folder / "parts/b.parquet", table.slice(cut), group=group)

    def read(path: Path, chunk_rows: int):
        ids, fingerprint, found = RecordIds(["s", "n"]), Fingerprint(), []
        for batch in open_files(str(path), root=folder).read(chunk_rows=chunk_rows):
            assert batch.num_rows <= chunk_rows
            fingerprint.update(batch)
            found += ids.update(batch)
        assert len(set(found)) == len(found) == len(records)
        return found, fingerprint.hexdigest()

    assert read(folder / "whole.parquet", 65_536) == read(folder / "parts", chunk)
