from __future__ import annotations

import datetime as dt
import os
import tempfile
from decimal import Decimal

import pyarrow as pa
import pytest

from flowguard.errors import SchemaError, SourceError
from flowguard.tables.query import open_query
from tests.tables.tables import put, rows

JOIN = """
SELECT o.id, o.date, o.amount, p.name, amount - lag(amount) OVER (ORDER BY id) AS rise -- since the last
FROM orders AS o LEFT JOIN people AS p USING (person) -- some are unknown
"""


@pytest.fixture
def project(tmp_path):
    put(
        tmp_path / "data/orders.parquet",
        {
            "id": [3, 1, 2, 4],
            "person": [1, 2, 9, 1],
            "amount": [5.0, 6.0, None, 8.0],
            "date": [dt.date(2026, 11, 2), dt.date(2026, 11, 1), dt.date(2026, 11, 2), None],
        },
    )
    put(tmp_path / "data/people.parquet", {"person": [1, 2], "name": ["Ann", "Bo"]})
    return tmp_path


def opened(project, query=JOIN, **changes):
    settings = {
        "tables": {"orders": "data/orders.parquet", "people": ["data/people.parquet"]},
        "root": project,
        "time": "date",
        "key": ["id"],
        "threads": 1,
    } | changes
    return open_query(query, **settings)


def test_days_of_a_join_are_batches_ordered_by_key(project):
    with opened(project) as source:
        assert source.schema().names == ["id", "date", "amount", "name", "rise"]
        assert {b.name: b.rows for b in source.batches()} == {"2026-11-01": 1, "2026-11-02": 2, "undated": 1}
        assert rows(source.read(["id", "name"], batch="2026-11-02")) == [
            {"id": 2, "name": None},
            {"id": 3, "name": "Ann"},
        ]
        assert [row["id"] for row in rows(source.read(["id"]))] == [1, 2, 3, 4]
        assert rows(source.read(["id"], batch="undated")) == [{"id": 4}]
        assert sum(piece.num_rows for piece in source.read([])) == 4


def test_the_filter_of_a_day_is_applied_after_the_querys_windows(project):
    with opened(project) as source:
        assert rows(source.read(["id", "rise"], since=dt.date(2026, 11, 2))) == [
            {"id": 2, "rise": None},
            {"id": 3, "rise": None},
        ]
    put(
        project / "data/orders.parquet",
        {"id": [1, 2], "person": [1, 1], "amount": [1.0, 4.0], "date": [dt.date(2026, 11, 1), dt.date(2026, 11, 2)]},
    )
    with opened(project) as source:
        assert rows(source.read(["rise"], batch="2026-11-02")) == [{"rise": 3.0}]


def test_since_until_and_exclude_choose_days(project):
    with opened(project) as source:
        ids = lambda **period: [row["id"] for row in rows(source.read(["id"], **period))]  # noqa: E731
        assert ids(until=dt.date(2026, 11, 2)) == [1]
        assert ids(exclude=[(dt.date(2026, 11, 2), dt.date(2026, 11, 3))]) == [1, 4]
        assert [b.name for b in source.batches(since=dt.date(2026, 11, 2))] == ["2026-11-02"]


def test_chunks_keep_their_size_and_streams_may_interleave(project):
    put(project / "data/orders.parquet", {"id": list(range(5000)), "date": [dt.date(2026, 11, 1)] * 5000})
    with opened(project, "SELECT * FROM orders") as source:
        one, other = source.read(chunk_rows=2048), source.read(chunk_rows=2048)
        first = next(one), next(other)
        assert first[0].equals(first[1])
        assert first[0].num_rows <= 2048
        assert sum(piece.num_rows for piece in one) + first[0].num_rows == 5000
        del other


def test_column_names_with_quotes_and_day_as_a_column_are_taken(project):
    put(project / "data/orders.parquet", {"id": [1], "day": [31], 'the "date"': [dt.date(2026, 11, 1)]})
    with opened(project, "SELECT * FROM orders;", time='the "date"') as source:
        assert [batch.name for batch in source.batches()] == ["2026-11-01"]
        assert rows(source.read(["day"], batch="2026-11-01")) == [{"day": 31}]


def test_timestamps_with_a_zone_are_cut_into_utc_days(project):
    instant = pa.array([dt.datetime(2026, 11, 1, 23, 30)], pa.timestamp("us", "America/New_York"))
    put(project / "data/orders.parquet", {"id": [1], "date": instant})
    with opened(project, "SELECT * FROM orders") as source:
        day = source.batches()[0].name
        assert day == "2026-11-01"
        assert len(rows(source.read(batch=day))) == 1


def test_sums_and_enums_come_as_plain_values(project):
    query = "SELECT date, sum(id) AS total, any_value('a'::ENUM('a', 'b')) AS letter FROM orders GROUP BY date"
    with opened(project, query, key=["date"]) as source:
        assert source.schema().field("letter").type == pa.string()
        assert rows(source.read(["total", "letter"], batch="2026-11-02")) == [{"total": Decimal(5), "letter": "a"}]


def test_partition_folders_of_a_table_are_columns(project):
    put(project / "data/days/day=2026-11-01/x.parquet", {"id": [1]})
    put(project / "data/days/day=2026-11-02/x.parquet", {"id": [2], "more": [3]})
    with opened(project, "SELECT * FROM orders", tables={"orders": "data/days"}, time="day") as source:
        assert [batch.name for batch in source.batches()] == ["2026-11-01", "2026-11-02"]
        assert rows(source.read(["id", "more"])) == [{"id": 1, "more": None}, {"id": 2, "more": 3}]


def test_the_stamp_follows_every_table_and_the_query(project):
    with opened(project) as source, opened(project, JOIN + " ") as other:
        batch = source.batches()[0]
        before = source.stamp(batch)
        assert other.stamp(batch) != before
        os.utime(project / "data/people.parquet", (1, 1))
        assert source.stamp(batch) != before


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT * FROM ordrs", "ordrs does not exist"),
        ("SELECT id, date, nothing FROM orders", "nothing"),
        ("SELEC 1", "syntax error"),
        ("SELECT 1; SELECT 2", "holds 2 statements"),
        ("COPY orders TO 'x.csv'", "is no SELECT"),
        ("", "holds 0 statements"),
        ("SELECT id, date FROM orders, 'data/people.parquet'", "under `source.tables`"),
        ("SELECT id, date FROM rows", "rows does not exist"),
        ("SELECT CAST(error('boom') AS INT) AS id, date FROM orders", "boom"),
    ],
)
def test_a_query_that_cannot_run_is_told_with_its_tables(project, query, words):
    with pytest.raises(SourceError) as caught, opened(project, query) as source:
        rows(source.read())
    assert words in str(caught.value)
    assert "data/orders.parquet" in str(caught.value) or "orders, people" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_time_and_key_must_be_returned_with_fit_types(project):
    with pytest.raises(SchemaError, match=r"source.time names 'when', which the query does not return"):
        opened(project, time="when").schema()
    with pytest.raises(SchemaError, match=r"source.key names 'no'"):
        opened(project, key=["no"]).schema()
    with pytest.raises(SchemaError, match=r"'amount', its time column, as double.*CAST\(amount AS DATE\)"):
        opened(project, time="amount").schema()
    with opened(project) as source, pytest.raises(SchemaError, match="has no column 'no'"):
        source.read(["no"])
    with opened(project) as source, pytest.raises(SourceError, match=r"no batch 'june'"):
        source.read(batch="june")


def test_a_missing_or_broken_table_is_named(project):
    with pytest.raises(SourceError, match=r"Table 'orders': data/no\.parquet does not exist"):
        opened(project, tables={"orders": "data/no.parquet"})
    (project / "data/people.parquet").write_bytes(b"name,age")
    with pytest.raises(SourceError, match=r"Table 'people': data/people\.parquet is not a Parquet file"):
        opened(project).schema()


def test_a_query_without_rows_is_refused(project):
    with opened(project, "SELECT * FROM orders WHERE id > 99") as source:
        assert rows(source.read()) == []
        with pytest.raises(SourceError, match="returns no row at all"):
            source.batches()


def test_nothing_is_left_behind(project):
    before = set(os.listdir(tempfile.gettempdir()))
    with opened(project) as source:
        rows(source.read())
    source.close()
    assert len(rows(source.read())) == 4, "reading again opens it again"
    source.close()
    left = {name for name in set(os.listdir(tempfile.gettempdir())) - before if name.startswith("flowguard-query")}
    assert not left
