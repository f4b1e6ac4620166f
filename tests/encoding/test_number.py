from __future__ import annotations

import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pytest

from flowguard.encoding.number import NumberFit, read_numbers
from flowguard.errors import SchemaError


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1, 2, None], kind)
        for kind in (pa.int8(), pa.uint8(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64())
    ]
    + [
        pa.array([decimal.Decimal("1.00"), decimal.Decimal("2.00"), None]),
        pa.array([1, 2, None]).dictionary_encode(),
        pa.array([0, 1, 2, None]).slice(1),
        pa.array([1.0, 2.0, float("nan")]),
    ],
    ids=lambda array: str(array.type),
)
def test_every_numeric_type_reads_as_float64_with_nan_for_missing(array: pa.Array) -> None:
    values = read_numbers(array, column="x")
    assert values.dtype == np.float64
    assert values.flags.c_contiguous
    assert values[:2].tolist() == [1.0, 2.0]
    assert np.isnan(values[2])


@pytest.mark.parametrize(
    "array",
    [pa.array(["1"]), pa.array([True]), pa.array([dt.date(2013, 1, 1)]), pa.array([[1.0]]), pa.array([b"1"])],
    ids=lambda array: str(array.type),
)
def test_other_types_are_refused_by_name(array: pa.Array) -> None:
    with pytest.raises(SchemaError, match=r"column 'x' holds .*; expected numbers"):
        read_numbers(array, column="x")


def fitted(values: np.ndarray, front: str) -> tuple[NumberFit, list[str]]:
    fit = NumberFit("x", seed=0)
    fit.update(values)
    fit.finish()
    notices: list[str] = []
    return fit.number(front, notices), notices


def test_a_quantile_front_with_too_few_values_becomes_standard_with_notice() -> None:
    number, notices = fitted(np.array([1.0, 2.0, 4.0]), "quantile")
    assert number.front.kind == "standard"
    assert "too few distinct values" in notices[0]


def test_an_overflowing_variance_falls_back_to_robust_with_notice() -> None:
    values = np.append(np.random.default_rng(0).normal(size=1000), [1e300, -1e300])
    number, notices = fitted(values, "standard")
    assert number.front.kind == "robust"
    assert "variance" in notices[0]
    assert number.front.shape.scale == pytest.approx(1.0, abs=0.1)


def test_values_that_the_sample_missed_do_not_make_a_constant() -> None:
    values = np.zeros(300_000)
    values[123_456] = 1.0
    for front in ("quantile", "standard", "robust"):
        number, _ = fitted(values, front)
        y, log_slope = number.front.forward(np.array([0.0, 1.0]))
        assert y[0] < y[1]
        assert np.isfinite(log_slope).all()


def test_dither_stays_within_half_a_step_and_spares_a_continuum() -> None:
    random = np.random.default_rng(1)
    minutes = random.poisson(30, 5000).astype(float)
    number, _ = fitted(minutes, "quantile")
    assert number.step == 1.0
    moved = number.dithered(minutes, np.random.default_rng(2)) - minutes
    assert np.abs(moved).max() <= 0.5
    assert moved.std() == pytest.approx(12**-0.5, abs=0.01)
    assert number.dithered(minutes, None) is minutes
    smooth = random.normal(size=5000)
    number, _ = fitted(smooth, "quantile")
    assert number.step is None
    assert number.dithered(smooth, np.random.default_rng(2)) is smooth


def test_tied_minutes_spread_to_a_normal_margin() -> None:
    minutes = np.maximum(0.0, np.round(np.random.default_rng(3).normal(-20, 10, 20_000)))  # nearly all 0
    number, _ = fitted(minutes, "quantile")
    assert number.front.kind == "quantile"
    y, _ = number.front.forward(number.dithered(minutes, np.random.default_rng(4)))
    assert abs(y.mean()) < 0.05
    assert y.std() == pytest.approx(1.0, abs=0.05)
