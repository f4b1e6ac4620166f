from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from flowguard.errors import InputError, PipelineError, SourceError
from flowguard.spec import load_pipeline
from flowguard.stages.init import infer_columns, init, level_for
from flowguard.tables import Wanted, check_columns, open_files
from tests.tables.tables import put

N = 300


def drafted(folder: Path, columns: dict, **options):
    """Draft from one file, load what was written, and check it against the data as the other stages do."""
    put(folder / "data/orders.parquet", columns)
    out = folder / "pipelines/orders.yaml"
    init(str(folder / "data"), out, **options)
    pipeline = load_pipeline(out)
    source = open_files(
        pipeline.source.path, root=pipeline.root, batch=pipeline.source.batch, time=pipeline.source.time
    )
    check_columns(source.schema(), Wanted.gather(pipeline.uses()), where="data")
    assert sum(batch.rows for batch in source.batches()) == len(next(iter(columns.values())))
    return pipeline, out.read_text(encoding="utf-8")


def numbers(seed=0, n=N):
    return np.random.default_rng(seed).normal(size=n)


def test_a_typical_table_gets_a_pipeline_that_works_as_it_stands(tmp_path):
    start = dt.datetime(2026, 1, 1, 6)
    pipeline, text = drafted(
        tmp_path,
        {
            "order_id": np.arange(N),
            "created_at": [start + dt.timedelta(hours=7 * i) for i in range(N)],
            "amount": numbers(),
            "items": [1 + i * i % 31 for i in range(N)],
            "city": ["Rome", "Oslo", None] * (N // 3),
            "gift": [True, False] * (N // 2),
            "currency": ["EUR"] * N,
        },
    )
    assert pipeline.name == "orders"
    assert pipeline.source.path == ("data",), "relative to the folder that holds pipelines/"
    assert (pipeline.source.batch, pipeline.source.time) == ("day", "created_at")
    assert pipeline.source.key == ("order_id",)
    kinds = {name: entry.kind for name, entry in pipeline.columns.features.items()}
    assert kinds == {"city": "category", "gift": "boolean", "items": "integer", "amount": "number"}
    assert list(kinds) == ["city", "gift", "items", "amount"], "what a record is comes before how much of it"
    assert list(pipeline.columns.context) == ["created_at_hour", "created_at_weekday"]
    assert pipeline.columns.context["created_at_hour"].period == "day"
    assert "#   currency: it is constant" in text
    assert "city: category  # 2 different; such as Rome, Oslo; 33.3% missing" in text
    assert "gift: boolean  # true in 50%" in text
    assert "items: integer  # 1 to 29; mean" in text
    assert "better moved to context" in text
    assert "key: [order_id]  # unique in all 300 records" in text


def test_odd_column_names_survive_the_file(tmp_path):
    names = [
        "a.b", "with space", 'say "x"', "größe", "it's", "yes", "null", "3", "1.5", "a: b", "# no", "- x", "{y}",
        "tab\tbed", "new\nline", "back\\slash", "*star", "&and", "!bang", "%pct", "@at", "`tick`", "~", "emoji 🙂",
        "\x7f", " lead", "é\u2028",
    ]  # fmt: skip
    columns = {name: numbers(i) for i, name in enumerate(names)}
    pipeline, _ = drafted(tmp_path, columns | {"city:": ["a", "b"] * (N // 2), "wee\x07 hour": [4, 5] * (N // 2)})
    assert list(pipeline.columns.features) == ["city:", *names]
    assert list(pipeline.columns.context) == ["wee\x07 hour"]


def test_columns_of_awkward_types_are_left_out_with_the_reason(tmp_path):
    pipeline, text = drafted(
        tmp_path,
        {
            "price": [Decimal(i) / 100 for i in range(N)],
            "date": [dt.date(2026, 1, 1) + dt.timedelta(i // 10) for i in range(N)],
            "took": [dt.timedelta(seconds=i) for i in range(N)],
            "tags": [["a"]] * N,
            "where": [{"x": 1}] * N,
            "clock": [dt.time(1)] * N,
            "nothing": pa.nulls(N),
            "kind": pa.array(["a", "b", None] * (N // 3)).dictionary_encode(),
            "bytes": [b"a"] * N,
            "spread": pa.array([f"v{i}" for i in range(N)]).dictionary_encode(),
        },
    )
    assert list(pipeline.columns.features) == ["kind", "price"]
    assert list(pipeline.columns.context) == ["date_weekday"]
    assert pipeline.source.time == "date"
    assert pipeline.source.key == ("spread",)
    for name, why in {
        "took": "it is a duration",
        "tags": "it holds nested values",
        "where": "it holds nested values",
        "clock": "it is a time",
        "nothing": "it is always missing",
        "bytes": "raw bytes",
    }.items():
        line = next(line for line in text.splitlines() if line.startswith(f"  #   {name}:"))
        assert why in line


def test_one_column_is_enough(tmp_path):
    pipeline, text = drafted(tmp_path, {"x": numbers()})
    assert list(pipeline.columns.features) == ["x"]
    assert pipeline.columns.context == {}
    assert pipeline.source.batch == "file"
    assert "context:" not in text


def test_a_table_of_categories_alone_is_enough(tmp_path):
    pipeline, text = drafted(tmp_path, {"s": [f"v{i % 40}" for i in range(N)], "stars": [1, 2, 3] * (N // 3)})
    assert {name: entry.kind for name, entry in pipeline.columns.features.items()} == {
        "s": "category",
        "stars": "category",
    }
    assert "An integer has a probability" not in text, "a kind that was not suggested is not explained"


def test_numbers_alone_are_not_told_about_categories(tmp_path):
    assert "category" not in drafted(tmp_path, {"x": numbers(), "y": numbers(1)})[1]


def test_five_hundred_columns_are_fine(tmp_path):
    pipeline, _ = drafted(tmp_path, {f"c{i}": numbers(i) for i in range(500)})
    assert len(pipeline.columns.features) == 500


def test_infinite_values_are_mentioned(tmp_path):
    values = numbers()
    values[3] = np.inf
    assert "1 infinite" in drafted(tmp_path, {"x": values})[1]


def test_partition_folders_become_batches(tmp_path):
    for shop in "ab":
        put(tmp_path / f"data/shop={shop}/x.parquet", {"x": numbers()})
    found = init(str(tmp_path / "data"), tmp_path / "orders.yaml")
    assert (found.batch, found.context, found.rows) == ("partition", ("shop",), 2 * N)


def test_columns_that_files_disagree_on_are_left_out(tmp_path):
    put(tmp_path / "data/a.parquet", {"x": numbers(), "y": numbers()})
    put(tmp_path / "data/b.parquet", {"x": numbers(), "y": ["text"] * N})
    found = init(str(tmp_path / "data"), tmp_path / "orders.yaml")
    assert found.features == ("x",)
    assert "cannot be read from every file" in found.left_out["y"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"x": [1.0]}, r"holds 1 record; at least 100"),
        ({"x": numbers(n=99)}, r"holds 99 records"),
        ({"hour": [4, 5] * (N // 2)}, r"no column .* feature: 'hour' is context cyclic\. Add a column of numbers, cat"),
        ({"x": [1.0] * N}, r"'x' is left out \(it is constant\)"),
        ({"x": pa.nulls(N)}, r"it is always missing"),
    ],
)  # fmt: skip
def test_data_that_gives_no_pipeline_says_why_and_writes_nothing(tmp_path, columns, words):
    put(tmp_path / "x.parquet", columns)
    with pytest.raises(InputError, match=words):
        init(str(tmp_path / "x.parquet"), tmp_path / "out/x.yaml")
    assert not (tmp_path / "out").exists()


def test_empty_missing_and_broken_data_are_refused(tmp_path):
    put(tmp_path / "empty.parquet", {"x": pa.array([], pa.float64())})
    (tmp_path / "bad.parquet").write_text("a,b")
    for name, words in [("empty.parquet", "is empty"), ("bad.parquet", "not a Parquet file"), ("no", "does not exist")]:
        with pytest.raises(SourceError, match=words):
            init(str(tmp_path / name), tmp_path / "x.yaml")


def test_a_file_that_exists_is_kept_unless_forced(tmp_path):
    put(tmp_path / "x.parquet", {"x": numbers()})
    out = tmp_path / "x.yaml"
    out.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        init(str(tmp_path / "x.parquet"), out)
    assert out.read_text() == "mine"
    assert init(str(tmp_path / "x.parquet"), out, force=True).path == str(out)
    assert load_pipeline(out).source.path == ("x.parquet",)
    with pytest.raises(InputError, match="is a folder"):
        init(str(tmp_path / "x.parquet"), tmp_path, force=True)


def test_names_are_made_fit_or_refused(tmp_path):
    put(tmp_path / "x.parquet", {"x": numbers()})
    assert init(str(tmp_path / "x.parquet"), tmp_path / "my orders (2).yaml").name == "my-orders-2"
    assert init(str(tmp_path / "x.parquet"), tmp_path / "2026.yaml").name == "2026"
    assert load_pipeline(tmp_path / "2026.yaml").name == "2026"
    with pytest.raises(InputError, match="does not serve"):
        init(str(tmp_path / "x.parquet"), tmp_path / "y.yaml", name="a b")


def test_data_outside_the_project_is_named_by_its_whole_path(tmp_path):
    put(tmp_path / "x.parquet", {"x": numbers()})
    init(str(tmp_path / "x.parquet"), tmp_path / "project/pipelines/x.yaml")
    assert load_pipeline(tmp_path / "project/pipelines/x.yaml").source.path == (str(tmp_path / "x.parquet"),)


@pytest.mark.parametrize("records", [1, 17, 51, 100, 1000, 19_999, 20_000, 1e6])
def test_the_drafted_level_can_be_supported(records):
    level = level_for(records)
    assert level >= 1 / (records / 2 + 1) or level == 0.2
    assert level in (0.001, 0.01, 0.02, 0.05, 0.1, 0.2)


def test_columns_left_to_the_data_are_resolved(tmp_path):
    columns = {
        "id": np.arange(N),
        "when": [dt.datetime(2026, 1, 1) + dt.timedelta(hours=7 * i) for i in range(N)],
        "secret": numbers(1),
        "amount": numbers(),
        "city": ["a", "b"] * (N // 2),
    }
    put(tmp_path / "x.parquet", columns)
    path = tmp_path / "x.yaml"
    path.write_text("source: {path: x.parquet, time: when, key: id, redact: [secret]}\ncolumns: infer\n")
    pipeline = load_pipeline(path)
    source = open_files("x.parquet", root=tmp_path)
    resolved = infer_columns(pipeline, source)
    assert list(resolved.columns.features) == ["city", "amount"]
    assert list(resolved.columns.context) == ["when_hour", "when_weekday"]
    assert resolved.path == path
    assert infer_columns(resolved, source) is resolved


def test_columns_that_cannot_be_inferred_are_told(tmp_path):
    put(tmp_path / "x.parquet", {"hour": [4, 5] * (N // 2)})
    path = tmp_path / "x.yaml"
    path.write_text("source: {path: x.parquet}\ncolumns: infer\n")
    with pytest.raises(InputError, match=r"`columns: infer` found no column"):
        infer_columns(load_pipeline(path), open_files("x.parquet", root=tmp_path))
    path.write_text("source: {path: x.parquet}\ncolumns: guess\n")
    with pytest.raises(PipelineError, match="or `infer`"):
        load_pipeline(path)
