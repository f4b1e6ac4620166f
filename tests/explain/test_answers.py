from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from flowguard.density import RecordDensity
from flowguard.detector.evaluate import inputs_of
from flowguard.encoding import Encoder, FeatureSettings
from flowguard.explain.answers import WIDEST, Answers
from flowguard.explain.expected import LEVEL, Expected
from flowguard.explain.outline import axis_values

COLUMNS = ("dep", "arr", "air", "wind")


def flights(n: int, seed: int) -> pa.RecordBatch:
    """arr follows dep; air and wind are on their own."""
    rng = np.random.default_rng(seed)
    dep, air, wind = rng.normal(0, 10, n), rng.normal(100, 15, n), rng.gamma(4, 2, n)
    return pa.record_batch({"dep": dep, "arr": dep + rng.normal(0, 2, n), "air": air, "wind": wind})


@pytest.fixture(scope="module")
def known() -> tuple[Encoder, RecordDensity, Expected]:
    """A Gaussian whose one dependence is set by hand: no training, and what is right is known."""
    batch = flights(4000, 0)
    encoder = Encoder.fit({name: FeatureSettings(front="standard") for name in COLUMNS}, {}, [batch], seed=0)
    config = {"family": "gaussian", "columns": encoder.density_columns(), "numeric": 0, "cardinalities": []}
    density = RecordDensity.build(config).double().eval()
    x = encoder.encode(batch).x
    slope = float(np.cov(x[:, 0], x[:, 1])[0, 1])
    with torch.no_grad():
        density.flow.bijection.on_columns.weight.zero_()
        density.flow.bijection.on_columns.weight[1, 0] = slope
        density.flow.bijection.raw_scale.zero_()
        density.flow.bijection.raw_scale[1] = _raw_scale(density, -np.log(np.std(x[:, 1] - slope * x[:, 0])))
    return encoder, density, Expected.fit(density, encoder, inputs_of(encoder.encode(flights(1000, 1))))


def _raw_scale(density: RecordDensity, wanted: float) -> float:
    """The weight whose bounded log scale is `wanted`, which rises with it."""
    bijection = density.flow.bijection
    before, low, high = bijection.raw_scale.clone(), -50.0, 500.0
    for _ in range(60):
        middle = (low + high) / 2
        bijection.raw_scale.fill_(middle)
        low, high = (middle, high) if float(bijection._log_scale()[1]) < wanted else (low, middle)
    bijection.raw_scale.copy_(before)
    return low


def answers(known, batch, **more) -> Answers:
    encoder, density, expected = known
    return Answers(density, encoder, inputs_of(encoder.encode(batch)), expected, **more)


def changed(batch: pa.RecordBatch, **values: float) -> pa.RecordBatch:
    columns = {name: batch.column(name).to_numpy().copy() for name in COLUMNS}
    for name, value in values.items():
        columns[name][:] = value
    return pa.record_batch(columns)


@pytest.mark.parametrize("column", COLUMNS[1:])
def test_the_column_that_was_changed_comes_first_and_alone(known, column):
    batch = changed(flights(40, 2), **{column: {"arr": 90.0, "air": 400.0, "wind": 90.0}[column]})
    found = answers(known, batch)
    place = COLUMNS.index(column)
    assert (found.contrasts.argmax(axis=1) == place).all()
    rest = np.delete(found.contrasts, place, axis=1)
    assert (rest < 8).all(), "put right, nothing else is odd"
    assert not found.pairs


def test_the_best_value_and_the_range_are_where_the_value_should_have_been(known):
    batch = changed(flights(30, 3), air=400.0)
    found, rows = answers(known, batch), np.arange(30)
    assert all(code == 0 and value == pytest.approx(100, abs=3) for code, value in found.best(rows, 2))
    low, high = found.ranges(rows, 2)
    np.testing.assert_allclose(low, 100 - 1.645 * 15, atol=4)
    np.testing.assert_allclose(high, 100 + 1.645 * 15, atol=4)


def test_two_columns_that_belong_together_and_are_both_far_out_are_a_pair(known):
    batch = changed(flights(20, 4), dep=1137.0, arr=1137.0)
    found = answers(known, batch)
    assert sorted(found.pairs) == list(range(20))
    for pair in found.pairs.values():
        assert pair.columns == (0, 1)
        assert pair.best == pytest.approx((0, 0), abs=6)
        # Without both: the spread of either by itself, not what the other leaves of it.
        assert pair.low == pytest.approx((-16.5, -16.8), abs=4)
        assert pair.high == pytest.approx((16.5, 16.8), abs=4)
        assert pair.contrast > 100


def test_two_columns_that_are_wrong_apart_from_each_other_are_two_reasons(known):
    found = answers(known, changed(flights(20, 5), air=400.0, wind=80.0))
    assert not found.pairs
    assert (np.sort(found.contrasts.argsort(axis=1)[:, -2:], axis=1) == [2, 3]).all()


def test_answers_have_the_same_bits_whatever_is_asked_beside(known):
    batch = changed(flights(150, 6), dep=500.0, arr=500.0)
    together, alone = answers(known, batch), answers(known, batch.slice(117, 1))
    np.testing.assert_array_equal(alone.contrasts[0], together.contrasts[117])
    assert alone.pairs[0] == together.pairs[117]
    column = int(alone.contrasts[0].argmax())
    one, other = alone.ranges(np.array([0]), column), together.ranges(np.array([117]), column)
    assert (one[0][0], one[1][0]) == (other[0][0], other[1][0])


@pytest.mark.parametrize("column", range(4))
def test_ranges_hold_nine_of_ten_ordinary_held_out_values(known, column):
    encoder, density, expected = known
    _coverage(encoder, density, expected, flights(3000, 7), column)


@pytest.mark.parametrize("column", range(4))
def test_ranges_of_a_density_that_is_too_sure_of_itself_are_honest_too(known, column):
    encoder, density, _ = known
    sure = RecordDensity.build(density.config).double().eval()
    sure.load_state_dict(density.state_dict())
    with torch.no_grad():
        sure.flow.bijection.raw_scale += 0.6
    expected = Expected.fit(sure, encoder, inputs_of(encoder.encode(flights(1500, 8))))
    assert (expected.levels[column, 1] - expected.levels[column, 0]) > 0.93, "wider than it claims"
    _coverage(encoder, sure, expected, flights(3000, 9), column)


def _coverage(encoder, density, expected, batch, column):
    from flowguard.explain.expected import ROUNDS
    from flowguard.explain.replaced import Conditionals

    inputs = inputs_of(encoder.encode(batch))
    among = Conditionals(density, encoder, inputs, outline=expected.outline)
    [found] = among.of([(column, np.arange(len(inputs)))], rounds=ROUNDS)
    low, high = (found.profile.quantile(q) for q in expected.levels[column])
    covered = ((found.axis >= low) & (found.axis <= high)).mean()
    assert 0.88 <= covered <= 0.92


def test_what_is_expected_comes_back_bit_for_bit(known):
    _, density, expected = known
    again = Expected.from_state(*expected.to_state())
    np.testing.assert_array_equal(again.levels, expected.levels)
    np.testing.assert_array_equal(again.outline.precision, expected.outline.precision)
    assert (again.ordinary, again.rows) == (expected.ordinary, expected.rows)
    plain = Expected.plain(density)
    np.testing.assert_allclose(plain.levels, [[0.5 - LEVEL / 2, 0.5 + LEVEL / 2]] * 4)
    assert Expected.from_state(*plain.to_state()).ordinary == -np.inf


def test_of_a_wide_table_the_columns_that_stand_out_are_looked_at():
    rng = np.random.default_rng(0)
    names = [f"x{i}" for i in range(2 * WIDEST)]
    batch = pa.record_batch({name: rng.normal(size=300) for name in names})
    encoder = Encoder.fit({name: FeatureSettings(front="standard") for name in names}, {}, [batch], seed=0)
    config = {"family": "gaussian", "columns": encoder.density_columns(), "numeric": 0, "cardinalities": []}
    density = RecordDensity.build(config).double().eval()
    inputs = inputs_of(encoder.encode(batch))
    expected = Expected.fit(density, encoder, inputs)
    x = inputs.x[:4].clone()
    x[:, 61] = 25.0
    found = Answers(density, encoder, replace(inputs.take(slice(0, 4)), x=x), expected)
    assert (found.contrasts.argmax(axis=1) == 61).all()
    assert (np.isfinite(found.contrasts).sum(axis=1) <= WIDEST).all()


def test_no_records_and_one_column_have_answers_too(known):
    encoder, density, expected = known
    assert Answers(density, encoder, inputs_of(encoder.encode(flights(0, 0))), expected).contrasts.shape == (0, 4)
    batch = flights(50, 0).select(["air"])
    one = Encoder.fit({"air": FeatureSettings(front="standard")}, {}, [batch], seed=0)
    config = {"family": "gaussian", "columns": one.density_columns(), "numeric": 0, "cardinalities": []}
    lone = RecordDensity.build(config).double().eval()
    found = Answers(lone, one, inputs_of(one.encode(batch)), Expected.fit(lone, one, inputs_of(one.encode(batch))))
    assert np.isfinite(found.contrasts).all()
    assert not found.pairs
    assert axis_values(inputs_of(one.encode(batch)), np.array([0]), np.array([], dtype=np.intp)).shape == (50, 1)
