from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from flowguard.encoding.context import NumericContext, NumericFit, numeric_from_dict
from flowguard.encoding.settings import ContextSettings
from flowguard.errors import InputError, SchemaError


def fitted(settings: ContextSettings, *arrays: pa.Array) -> tuple[NumericContext | None, list[str]]:
    fit = NumericFit("c", "c", settings, seed=0)
    for array in arrays:
        fit.update(array)
    notices: list[str] = []
    return fit.context(notices), notices


def encoded(context: NumericContext, array: pa.Array) -> tuple[list[list[float]], np.ndarray | None]:
    out = np.full((len(array), context.width), 7.0)
    infinite = context.encode(array, out)
    return out.tolist(), infinite


def test_a_number_is_in_deviations_from_its_mean() -> None:
    context, _ = fitted(ContextSettings("number"), pa.array([1, 3]), pa.array([5, 7]))
    assert context.width == 1
    out, infinite = encoded(context, pa.array([4.0, None, 4.0 + math.sqrt(5)]))
    assert np.allclose(out, [[0.0], [0.0], [1.0]])
    assert infinite is None


def test_a_column_once_missing_gets_an_indicator() -> None:
    context, _ = fitted(ContextSettings("integer"), pa.array([1, None, 3]))
    assert encoded(context, pa.array([None, 2]))[0] == [[0.0, 1.0], [0.0, 0.0]]
    assert encoded(context, pa.array([2, 2]))[0] == [[0.0, 0.0], [0.0, 0.0]]


def test_booleans_are_plus_and_minus_one() -> None:
    context, _ = fitted(ContextSettings("boolean"), pa.array([True, False, None]))
    assert encoded(context, pa.array([True, False, None]))[0] == [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]
    assert encoded(context, pa.array([1.0, 0.0, float("nan")]))[0] == [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]
    out, infinite = encoded(context, pa.array([2, 1]))
    assert infinite.tolist() == [True, False]
    assert out[0] == [0.0, 0.0]
    with pytest.raises(SchemaError, match="booleans"):
        encoded(context, pa.array(["true"]))


def test_cyclic_values_are_points_on_a_circle() -> None:
    context, _ = fitted(ContextSettings("cyclic", period=24), pa.array([0, 5, 12, None]))
    out, _ = encoded(context, pa.array([0, 6, None]))
    assert np.allclose(out, [[0, 1, 0], [1, 0, 0], [0, 0, 1]])


def test_a_constant_that_is_sometimes_missing_keeps_its_indicator() -> None:
    context, _ = fitted(ContextSettings("number"), pa.array([5.0, None, 5.0]))
    assert encoded(context, pa.array([5.0, None]))[0] == [[0.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "cyclic"])
def test_a_column_that_tells_nothing_is_dropped_with_notice(kind: str) -> None:
    settings = ContextSettings(kind, period=7 if kind == "cyclic" else None)
    context, notices = fitted(settings, pa.array([1, 1]))
    assert context is None
    assert "one value" in notices[0]
    context, notices = fitted(settings, pa.nulls(3))
    assert context is None
    assert "no value" in notices[0]


def test_extreme_context_stays_finite() -> None:
    context, notices = fitted(ContextSettings("number"), pa.array([1e300, -1e300, 1.0, 2.0, 3.0]))
    assert "robust" in notices[0]
    out, _ = encoded(context, pa.array([1.7e308, -1.7e308, 5e-324]))
    assert np.isfinite(out).all()


def test_contexts_survive_json() -> None:
    import json

    array = pa.array([0.1, 0.7, None, 1e12])
    for settings in (ContextSettings("number"), ContextSettings("cyclic", period=0.3)):
        context, _ = fitted(settings, array)
        again = numeric_from_dict(json.loads(json.dumps(context.to_dict())))
        assert encoded(again, array)[0] == encoded(context, array)[0]


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "colour"},
        {"kind": "cyclic"},
        {"kind": "cyclic", "period": "month"},
        {"kind": "cyclic", "period": 0},
        {"kind": "number", "period": 3},
        {"kind": "category", "max_levels": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict) -> None:
    with pytest.raises(InputError):
        ContextSettings(**arguments)
