from __future__ import annotations

import datetime as dt
import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.encoding import ContextSettings, Encoded, Encoder, FeatureSettings
from flowguard.errors import BundleError, InputError, SchemaError, SourceError

ARRAYS = ("x", "codes", "lower", "log_width", "log_det", "context", "levels")

FEATURES = {
    "delay": FeatureSettings(),
    "speed": FeatureSettings(front="standard"),
    "cost": FeatureSettings(front="robust", column="price"),
    "carrier": FeatureSettings("category"),
    "seats": FeatureSettings("integer"),
}
CONTEXT = {
    "origin": ContextSettings("category"),
    "distance": ContextSettings("number"),
    "late": ContextSettings("boolean"),
    "hour": ContextSettings("cyclic", column="when", period="day"),
    "season": ContextSettings("cyclic", column="when", period="year"),
}


def table(n: int = 3000, seed: int = 0) -> pa.RecordBatch:
    random = np.random.default_rng(seed)
    missing = random.random(n) < 0.1
    delay = pa.array(random.poisson(9, n), pa.int64(), mask=missing)
    start = dt.datetime(2013, 1, 1)
    when = [start + dt.timedelta(hours=int(hours)) for hours in random.integers(0, 9000, n)]
    return pa.RecordBatch.from_pydict(
        {
            "delay": delay,
            "speed": random.normal(400, 30, n),
            "price": random.lognormal(sigma=2, size=n),
            "carrier": pa.array(random.choice(["AA", "UA", "DL"], n, p=[0.2, 0.5, 0.3]), mask=random.random(n) < 0.1),
            "seats": 5 * random.poisson(30, n) + 2,
            "origin": pa.array(random.choice(["EWR", "JFK", "LGA"], n), mask=random.random(n) < 0.05),
            "distance": pa.array(random.integers(100, 3000, n), mask=random.random(n) < 0.2),
            "late": random.random(n) < 0.3,
            "when": pa.array(when, pa.timestamp("us")),
            "unused": ["text"] * n,
        }
    )


BATCH = table()
ENCODER = Encoder.fit(FEATURES, CONTEXT, [BATCH], seed=1)


def same_bits(a: Encoded, b: Encoded) -> bool:
    arrays = all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in ARRAYS)
    return arrays and (a.refused, a.numbers, a.integers) == (b.refused, b.numbers, b.integers)


def test_shapes_and_types_are_as_promised() -> None:
    encoded = ENCODER.encode(BATCH)
    n = len(BATCH)
    assert len(encoded) == n
    assert encoded.x.shape == encoded.log_det.shape == encoded.observed.shape == (n, 3)
    assert encoded.lower.shape == encoded.log_width.shape == (n, 1)
    assert encoded.codes.shape == (n, 5)
    assert (encoded.numbers, encoded.integers) == ((0, 1, 2), (4,))
    assert np.array_equal(encoded.observed, encoded.codes[:, :3] == 0)
    assert encoded.context.shape == (n, ENCODER.context_width) == (n, 2 + 1 + 2 + 2)
    assert encoded.levels.shape == (n, 1)
    assert (encoded.x.dtype, encoded.observed.dtype, encoded.codes.dtype) == (np.float64, np.bool_, np.int64)
    assert ENCODER.feature_names == ["delay", "speed", "cost", "carrier", "seats"]
    assert ENCODER.context_names == ["distance", "late", "hour", "season", "origin"]
    assert ENCODER.cardinalities == [5]
    assert ENCODER.columns == ["delay", "speed", "price", "carrier", "seats", "distance", "late", "when", "origin"]
    assert ENCODER.rows == n
    nulls = {name: BATCH[name].null_count for name in ("delay", "carrier")}
    assert ENCODER.missing_counts == {"speed": 0, "cost": 0, "seats": 0, **nulls}
    assert ENCODER.never_missing == ["speed", "cost", "seats"]
    assert ENCODER.steps == {"delay": 1.0, "seats": 5.0}


def test_missing_is_held_at_zero_with_no_log_det() -> None:
    encoded = ENCODER.encode(BATCH)
    gone = np.asarray(BATCH["delay"].is_null())
    assert np.array_equal(~encoded.observed[:, 0], gone)
    assert (encoded.x[gone, 0] == 0).all()
    assert (encoded.log_det[gone, 0] == 0).all()


def test_decode_undoes_encode() -> None:
    encoded = ENCODER.encode(BATCH)
    for i, (name, column) in enumerate((("delay", "delay"), ("speed", "speed"), ("cost", "price"))):
        raw = BATCH[column].to_numpy(zero_copy_only=False).astype(float)
        seen = encoded.observed[:, i]
        assert np.allclose(ENCODER.decode(name, encoded.x[seen, i]), raw[seen], rtol=1e-9, atol=1e-9)
    with pytest.raises(KeyError, match="price"):
        ENCODER.decode("price", encoded.x[:, 0])


def test_a_record_does_not_depend_on_its_batch() -> None:
    whole = ENCODER.encode(BATCH)
    for start, length in ((0, 1), (7, 13), (1000, 777)):
        part = ENCODER.encode(BATCH.slice(start, length))
        rows = slice(start, start + length)
        for name in ARRAYS:
            ours = np.ascontiguousarray(getattr(whole, name)[rows])
            assert getattr(part, name).tobytes() == ours.tobytes(), name


@given(st.lists(st.integers(0, len(BATCH)), max_size=6), st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_the_fit_does_not_depend_on_how_the_stream_is_cut(cuts: list[int], empty: int) -> None:
    edges = [0, *sorted(cuts), len(BATCH)]
    pieces = [BATCH.slice(a, b - a) for a, b in pairwise(edges)]
    pieces[empty:empty] = [BATCH.slice(0, 0)]
    assert Encoder.fit(FEATURES, CONTEXT, pieces, seed=1).to_dict() == ENCODER.to_dict()


def test_json_gives_back_the_same_bits() -> None:
    again = Encoder.from_dict(json.loads(json.dumps(ENCODER.to_dict())))
    assert same_bits(again.encode(BATCH), ENCODER.encode(BATCH))
    assert again.to_dict() == ENCODER.to_dict()
    assert again.columns == ENCODER.columns
    code = np.linspace(-50, 50, 101)
    assert again.decode("cost", code).tobytes() == ENCODER.decode("cost", code).tobytes()


@pytest.mark.parametrize("version", [1, 2, None])
def test_another_layout_is_refused(version: int | None) -> None:
    with pytest.raises(BundleError, match=rf"layout {version}; this flowguard reads 3"):
        Encoder.from_dict({**ENCODER.to_dict(), "version": version})


def test_another_seed_draws_another_dither_for_the_knots_and_the_same_seed_the_same() -> None:
    assert Encoder.fit(FEATURES, CONTEXT, [BATCH], seed=1).to_dict() == ENCODER.to_dict()
    assert Encoder.fit(FEATURES, CONTEXT, [BATCH], seed=2).to_dict() != ENCODER.to_dict()


def test_taken_records_are_those_records() -> None:
    whole = ENCODER.encode(BATCH)
    rows = np.array([5, 2, 2])
    assert same_bits(whole.take(rows).take(np.array([1])), ENCODER.encode(BATCH.slice(2, 1)))


def test_dither_touches_lattice_columns_alone() -> None:
    plain = ENCODER.encode(BATCH)
    moved = ENCODER.encode(BATCH, dither=np.random.default_rng(0))
    assert np.array_equal(plain.codes, moved.codes)
    assert np.array_equal(plain.lower, moved.lower)
    assert np.array_equal(plain.x[:, 1:], moved.x[:, 1:])
    assert np.array_equal(plain.context, moved.context)
    seen = plain.observed[:, 0]
    assert (plain.x[seen, 0] != moved.x[seen, 0]).all()
    assert (moved.x[~seen, 0] == 0).all()
    apart = ENCODER.decode("delay", moved.x[seen, 0]) - ENCODER.decode("delay", plain.x[seen, 0])
    assert np.abs(apart).max() <= 0.5 + 1e-9


def replaced(batch: pa.RecordBatch, **columns: pa.Array) -> pa.RecordBatch:
    data = {name: columns.get(name, batch[name]) for name in batch.schema.names}
    return pa.RecordBatch.from_pydict(data)


def test_infinite_values_are_refused_with_their_column_and_nothing_else_changes() -> None:
    batch = BATCH.slice(0, 4)
    odd = replaced(
        batch,
        speed=pa.array([float("inf"), 400.0, -float("inf"), 400.0]),
        distance=pa.array([float("inf"), 1.0, 2.0, 3.0]),
        late=pa.array([0, 5, 1, 1]),
    )
    encoded = ENCODER.encode(odd)
    assert encoded.refused == [
        "speed is infinite; distance is infinite",
        "late is neither 0 nor 1",
        "speed is infinite",
        None,
    ]
    assert np.isfinite(encoded.x).all()
    assert np.isfinite(encoded.context).all()
    assert not encoded.observed[[0, 2], 1].any()


def test_infinite_training_values_leave_the_fit_as_it_would_be_without_them() -> None:
    values = np.random.default_rng(3).normal(size=500)
    clean = pa.RecordBatch.from_pydict({"x": values})
    dirty = pa.RecordBatch.from_pydict({"x": np.append(values, [np.inf, -np.inf])})
    fits = [Encoder.fit({"x": FeatureSettings()}, {}, [batch], seed=0) for batch in (clean, dirty)]
    assert fits[0].to_dict()["features"] == fits[1].to_dict()["features"]


def test_a_wrong_type_names_column_found_and_expected() -> None:
    with pytest.raises(SchemaError, match=r"'speed' holds string; expected numbers"):
        ENCODER.encode(replaced(BATCH, speed=pa.array(["a"] * len(BATCH))))
    with pytest.raises(SchemaError, match=r"'origin' holds int64; expected text"):
        ENCODER.encode(replaced(BATCH, origin=pa.array(range(len(BATCH)))))
    with pytest.raises(SchemaError, match=r"'when' holds int64; expected"):
        ENCODER.encode(replaced(BATCH, when=pa.array(range(len(BATCH)))))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(SchemaError, match="'price' is missing"):
        ENCODER.encode(BATCH.drop_columns(["price"]))
    with pytest.raises(SchemaError, match="'nope' is missing"):
        Encoder.fit({"nope": FeatureSettings()}, {}, [BATCH], seed=0)


def test_numbers_of_another_width_are_the_same_numbers() -> None:
    narrow = replaced(BATCH, delay=BATCH["delay"].cast(pa.float32()), distance=BATCH["distance"].cast(pa.int16()))
    assert same_bits(ENCODER.encode(narrow), ENCODER.encode(BATCH))


def test_unobserved_features_and_constant_context_are_dropped_with_notice() -> None:
    n = 50
    batch = pa.RecordBatch.from_pydict(
        {
            "x": np.arange(n, dtype=float),
            "same": [3] * n,
            "never": pa.nulls(n, pa.float64()),
            "only": ["a"] * n,
            "nan": [float("nan")] * n,
        }
    )
    encoder = Encoder.fit(
        {
            "x": FeatureSettings(front="robust"),
            "same": FeatureSettings(),
            "never": FeatureSettings(),
            "nan": FeatureSettings(),
        },
        {"only": ContextSettings("category"), "c": ContextSettings("number", column="same")},
        [batch],
        seed=0,
    )
    assert encoder.feature_names == ["x", "same"]
    assert encoder.context_width == 0
    assert encoder.cardinalities == []
    assert encoder.columns == ["x", "same"]
    told = "\n".join(encoder.notices)
    assert all(f" {name} was dropped" in told for name in ("never", "nan", "only", "c"))
    assert "same was dropped" not in told
    encoded = encoder.encode(batch.select(["x", "same"]))
    assert encoded.context.shape == (n, 0)
    assert encoded.levels.shape == (n, 0)


def test_nothing_left_to_model_is_an_error_that_names_the_columns() -> None:
    batch = pa.RecordBatch.from_pydict({"a": [None, float("nan")], "b": pa.nulls(2)})
    kinds = {"a": FeatureSettings("integer"), "b": FeatureSettings("category")}
    with pytest.raises(InputError, match="a, b"):
        Encoder.fit(kinds, {}, [batch], seed=0)
    with pytest.raises(SourceError):
        Encoder.fit(kinds, {}, [batch.slice(0, 0)], seed=0)


def test_three_rows_and_one_column_are_enough() -> None:
    batch = pa.RecordBatch.from_pydict({"x": [1, 2, 4]})
    for front in ("standard", "robust", "quantile"):
        encoder = Encoder.fit({"x": FeatureSettings(front=front)}, {}, [batch], seed=0)
        encoded = encoder.encode(batch)
        assert encoder.decode("x", encoded.x[:, 0]) == pytest.approx([1.0, 2.0, 4.0])
    assert encoder.encode(batch.slice(0, 0)).x.shape == (0, 1)


def test_counts_sum_to_the_rows_and_are_what_encode_gives() -> None:
    encoded = ENCODER.encode(BATCH)
    for i, column in enumerate(ENCODER.density_columns()):
        assert sum(column["counts"]) == ENCODER.rows
        assert column["counts"] == np.bincount(encoded.codes[:, i], minlength=len(column["counts"])).tolist()
    assert [column["kind"] for column in ENCODER.density_columns()] == ["number"] * 3 + ["category", "integer"]
    assert [sorted(column) for column in ENCODER.density_columns()[2:]] == [
        ["counts", "kind"],
        ["counts", "kind", "novel"],
        ["counts", "kind", "origin", "spacing"],
    ]
    assert json.loads(json.dumps(ENCODER.density_columns())) == ENCODER.density_columns()


def test_codes_are_given_back_as_what_they_stand_for() -> None:
    assert [ENCODER.level_of("carrier", code) for code in range(5)] == [None, None, "UA", "DL", "AA"]
    assert [ENCODER.level_of("seats", code) for code in range(3)] == [None] * 3
    assert [ENCODER.level_of("speed", code) for code in range(2)] == [None] * 2
    for name, code in (("carrier", 5), ("carrier", -1), ("speed", 2), ("seats", 3), ("origin", 2)):
        with pytest.raises(KeyError, match=name):
            ENCODER.level_of(name, code)
    assert ENCODER.lattice("speed") is None
    assert ENCODER.lattice("seats").step == 5.0
    with pytest.raises(KeyError, match="carrier is a category"):
        ENCODER.decode("carrier", np.zeros(1))
