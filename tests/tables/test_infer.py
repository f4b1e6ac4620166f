from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from flowguard.tables import open_files, profile
from tests.tables.tables import put

N = 400


def profiles(folder, columns):
    put(folder / "x.parquet", columns, group=150)
    return {column.name: column for column in profile(open_files("x.parquet", root=folder))}


def test_each_column_gets_the_role_that_it_can_have(tmp_path):
    rng = np.random.default_rng(0)
    start = dt.datetime(2026, 1, 1, 6)
    found = profiles(
        tmp_path,
        {
            "order_id": [f"A{i}" for i in range(N)],
            "created_at": [start + dt.timedelta(hours=7 * i) for i in range(N)],
            "shipped": [dt.date(2026, 2, 1)] * N,
            "amount": rng.normal(size=N),
            "items": rng.integers(1, 50, N),
            "stars": rng.integers(1, 6, N),
            "hour": rng.integers(0, 24, N),
            "city": rng.choice(["Rome", "Oslo"], N),
            "gift": rng.random(N) > 0.5,
            "row_no": np.arange(N),
            "account": rng.integers(2**50, 2**60, N),
            "note": [f"text {i}" for i in range(N)],
            "currency": ["EUR"] * N,
            "gone": pa.nulls(N, pa.float64()),
            "rare": [1.0 if i % 50 == 0 else None for i in range(N)],
            "tags": [["a"]] * N,
            "took": [dt.timedelta(seconds=i) for i in range(N)],
            "raw": [b"x"] * N,
        },
    )
    roles = {name: (column.role, column.kind) for name, column in found.items()}
    assert roles["order_id"] == ("key", "identifier")
    assert roles["created_at"] == ("time", "clock")
    assert roles["amount"] == ("feature", "number")
    assert roles["items"] == ("feature", "integer")
    assert roles["stars"] == roles["city"] == ("feature", "category")
    assert roles["gift"] == ("feature", "boolean")
    assert (*roles["hour"], found["hour"].period) == ("context", "cyclic", 24)
    for name, why in {
        "shipped": "another date",
        "row_no": "its own value",
        "account": "its own value",
        "note": "its own value",
        "currency": "constant",
        "gone": "always missing",
        "rare": "nearly always missing (98.0%)",
        "tags": "nested",
        "took": "duration",
        "raw": "raw bytes",
    }.items():
        assert roles[name][0] == "skip", name
        assert why in found[name].why, name


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("x", np.arange(N) % 10, "category"),
        ("x", np.arange(N) % 11, "integer"),
        ("x", np.arange(N) % 80, "integer"),
        ("x", np.arange(N) % 81, "number"),
        ("x", np.arange(N) % 11 * 2**20 // 10, "integer"),
        ("x", np.arange(N) % 11 * (2**20 // 10 + 1), "number"),
        ("x", np.arange(N) % 80 - 40, "integer"),
        ("http_status", np.arange(N) % 80, "category"),
        ("room_number", np.arange(N) % 200, "category"),
        ("room_number", np.arange(N) % 201, "number"),
        ("x", (np.arange(N) % 80).astype(float), "number"),
        ("x", (np.arange(N) % 2).astype(float), "number"),
        ("x", [Decimal(i % 30) / 4 for i in range(N)], "number"),
        ("x", pa.array([f"v{i % 200}" for i in range(N)]).dictionary_encode(), "category"),
        ("x", pa.array(np.arange(N) % 80).dictionary_encode(), "integer"),
        ("x", [i % 7 == 0 for i in range(N)], "boolean"),
    ],
)
def test_the_kind_of_a_feature_follows_from_how_often_values_repeat_and_how_far_they_span(tmp_path, name, values, kind):
    column = profiles(tmp_path, {name: values})[name]
    assert (column.role, column.kind) == ("feature", kind)


@pytest.mark.parametrize(
    ("name", "values", "kind", "period"),
    [
        ("month", 1 + np.arange(N) % 12, "cyclic", 12),
        ("order_weekday", np.arange(N) % 7, "cyclic", 7),
        ("day", 1 + np.arange(N) % 31, "cyclic", 31),
        ("quarter", 1 + np.arange(N) % 4, "cyclic", 4),
        ("hour", [None, *(float(i % 24) for i in range(N - 1))], "cyclic", 24),
        ("year", 2020 + np.arange(N) % 4, "number", None),
    ],
)
def test_a_part_of_the_calendar_is_a_condition_and_not_judged(tmp_path, name, values, kind, period):
    column = profiles(tmp_path, {name: values})[name]
    assert (column.role, column.kind, column.period) == ("context", kind, period)


def test_what_is_named_like_a_part_of_the_calendar_but_is_none_is_a_feature(tmp_path):
    found = profiles(tmp_path, {"month": np.arange(N) % 40, "year": np.arange(N) % 40, "hour": np.arange(N) / N})
    assert {column.role for column in found.values()} == {"feature"}


def test_what_names_folders_is_a_condition(tmp_path):
    for shop in ("north", "south"):
        put(tmp_path / f"data/shop={shop}/x.parquet", {"x": np.random.default_rng(0).normal(size=N)})
    found = {column.name: column for column in profile(open_files("data", root=tmp_path))}
    assert (found["shop"].role, found["shop"].kind) == ("context", "category")
    assert "names folders" in found["shop"].why


def test_what_was_seen_is_measured_over_all_pieces(tmp_path):
    values = [None, float("nan"), float("inf"), *range(N - 3)]
    seen = profiles(tmp_path, {"x": pa.array(values, pa.float64()), "y": [0] * (N - 1) + [1]})["x"].seen
    assert (seen.rows, seen.missing, seen.infinite, seen.known) == (N, 2, 1, N - 2)
    assert (seen.low, seen.high, seen.mean) == (0, N - 4, (N - 4) / 2)
    assert (seen.distinct, seen.distinct_is_exact) == (N - 2, True)


def test_many_distinct_values_are_estimated_closely(tmp_path):
    seen = profiles(tmp_path, {"x": np.arange(60_000) / 7, "y": [1, 2] * 30_000})["x"].seen
    assert not seen.distinct_is_exact
    assert abs(seen.distinct / 60_000 - 1) < 0.06


def test_a_key_must_be_unique_in_the_whole_source_not_in_the_part_that_was_seen(tmp_path):
    n = 20_000
    ids = [f"k{i}" for i in range(n)]
    ids[-1] = ids[0]
    put(tmp_path / "x.parquet", {"id": ids, "x": np.random.default_rng(0).normal(size=n)}, group=2000)
    source = open_files("x.parquet", root=tmp_path)
    columns = {column.name: column for column in profile(source, rows=5000)}
    assert columns["id"].seen.rows < n
    assert columns["id"].role == "skip"


def test_a_sample_is_spread_over_all_files(tmp_path):
    for number in range(10):
        put(tmp_path / f"{number}.parquet", {"x": [number] * 3000}, group=1000)
    source = open_files("*.parquet", root=tmp_path)
    pieces = list(source.sample(3000, ["x"]))
    assert sum(piece.num_rows for piece in pieces) <= 3300
    assert len({value for piece in pieces for value in piece.column(0).to_pylist()}) == 10
