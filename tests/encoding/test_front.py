from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.encoding.front import (
    BEND,
    LARGEST,
    Curve,
    Front,
    Line,
    quantile,
    quantile_front,
    robust_front,
    spread,
    standard_front,
)

finite = st.floats(allow_nan=False, allow_infinity=False)


def samples() -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    zeros = np.where(random.random(4000) < 0.95, 0.0, random.lognormal(size=4000))
    drawn = {
        "normal": random.normal(3.0, 2.0, 4000),
        "lognormal": random.lognormal(sigma=3.0, size=4000),
        "cauchy": random.standard_cauchy(4000),
        "mostly zeros": zeros,
        "two clusters": np.concatenate([random.normal(-1e6, 1, 2000), random.normal(1e6, 1, 2000)]),
        "tiny": random.normal(size=4000) * 1e-200,
        "huge": random.normal(size=4000) * 1e200,
        "few": random.normal(size=100),
    }
    return {name: np.sort(values) for name, values in drawn.items()}


def fronts() -> list[Front]:
    curves = [quantile_front(sample) for sample in samples().values()]
    lines = [standard_front(3.0, 2.0), standard_front(0.0, 5e-324), standard_front(1e10, 1e-3)]
    robust = [robust_front(sample) for sample in samples().values()]
    return [front for front in [*curves, *lines, *robust] if front is not None]


FRONTS = fronts()
every_front = pytest.mark.parametrize("front", FRONTS, ids=lambda front: f"{front.kind}")


def anchor(front: Front) -> float:
    """The size below which a value is rounding error for this front."""
    if isinstance(front.shape, Line):
        return max(abs(front.shape.center), front.shape.scale)
    return float(np.abs(front.shape.knots).max())


def spots(front: Front) -> np.ndarray:
    """Values where something changes: knots, bends, the ends of float64."""
    around = front.inverse(np.concatenate([np.linspace(-BEND - 2, BEND + 2, 201), [-1e4, -100, 100, 1e4]]))
    ends = np.array([0.0, 5e-324, -5e-324, 1e-308, 1.0, -1.0, 1e300, -1e300, LARGEST, -LARGEST])
    return np.unique(np.concatenate([around, ends]))


def test_every_sample_gets_a_quantile_curve() -> None:
    assert all(quantile_front(sample) is not None for sample in samples().values())


@every_front
def test_the_inverse_gives_back_the_value(front: Front) -> None:
    x = spots(front)
    back = front.inverse(front.forward(x)[0])
    assert (np.abs(back - x) <= 1e-9 * np.maximum(np.abs(x), anchor(front))).all()


@every_front
def test_the_encoded_value_is_given_back_by_its_inverse(front: Front) -> None:
    y = np.linspace(-60, 60, 2001)
    again = front.forward(front.inverse(y))[0]
    # Where a curve is steep, neighbouring float64 values of x lie further apart in y.
    x = front.inverse(y)
    with np.errstate(over="ignore"):
        step = np.spacing(np.abs(x)) * np.exp(front.forward(x)[1])
    assert (np.abs(again - y) <= 1e-9 + 4 * step).all()


@every_front
def test_order_is_kept_strictly(front: Front) -> None:
    x = spots(front)
    apart = np.diff(x) > 1e-9 * np.maximum(np.maximum(np.abs(x[1:]), np.abs(x[:-1])), anchor(front))
    apart[[i for i in range(len(apart)) if not np.isfinite(x[i + 1] - x[i])]] = True
    y, log_slope = front.forward(x)
    assert (np.diff(y) >= -1e-12).all()
    assert (np.diff(y)[apart] > 0).all()
    assert np.isfinite(y).all()
    assert np.isfinite(log_slope).all()


@every_front
@given(x=finite)
@settings(max_examples=60, deadline=None)
def test_no_finite_value_becomes_nan(front: Front, x: float) -> None:
    y, log_slope = front.forward(np.array([x]))
    back = front.inverse(y)
    assert np.isfinite([y[0], log_slope[0], back[0]]).all()
    assert abs(back[0] / 2 - x / 2) <= 1e-9 * max(abs(x), anchor(front))


@every_front
def test_the_log_slope_is_the_derivative(front: Front) -> None:
    y = np.linspace(-45, 45, 901) + 0.0123
    x = front.inverse(y)
    _, log_slope = front.forward(x)
    # Central difference of a width that suits the local slope; skipped where float64 cannot resolve it.
    step = 1e-4 * np.exp(-log_slope)
    resolved = np.spacing(np.abs(x)) < 1e-6 * step
    high, low = x + step, x - step
    with np.errstate(invalid="ignore"):
        difference = (front.forward(high)[0] - front.forward(low)[0]) / (high - low)
    smooth = np.abs(front.forward(high)[1] - front.forward(low)[1]) < 0.02  # no knot with a kink between
    good = resolved & smooth
    assert np.allclose(np.log(difference[good]), log_slope[good], atol=1e-4)
    assert good.sum() > 20 or front.kind == "standard"


def test_the_log_slope_of_a_curve_equals_autograd() -> None:
    torch = pytest.importorskip("torch")
    shape = quantile_front(samples()["lognormal"]).shape
    assert isinstance(shape, Curve)
    k = 17
    x = torch.linspace(float(shape.knots[k]), float(shape.knots[k + 1]), 50, dtype=torch.float64)[1:-1]
    x.requires_grad_(True)
    width, rise = shape.knots[k + 1] - shape.knots[k], shape.scores[k + 1] - shape.scores[k]
    a, b = shape.slopes[k] * width / rise, shape.slopes[k + 1] * width / rise
    t = (x - shape.knots[k]) / width
    y = shape.scores[k] + rise * (t**2 + a * t * (1 - t)) / (1 + (a + b - 2) * t * (1 - t))
    (slope,) = torch.autograd.grad(y.sum(), x)
    ours = shape.forward(x.detach().numpy())
    assert np.allclose(ours[0], y.detach().numpy(), rtol=0, atol=1e-12)
    assert np.allclose(ours[1], np.log(slope.numpy()), rtol=0, atol=1e-8)


@every_front
def test_slopes_change_without_a_jump(front: Front) -> None:
    edges = front.shape.knots if isinstance(front.shape, Curve) else front.inverse(np.array([-BEND, BEND]))
    gap = np.maximum(np.spacing(np.abs(edges)) * 4, 0)
    before, after = front.forward(edges - gap)[1], front.forward(edges + gap)[1]
    # Beside a knot between a dense and an empty stretch slopes change fast; there float64 shows no limit.
    with np.errstate(over="ignore"):
        sharp = np.exp(front.forward(edges)[1])
    resolved = (gap * sharp < 1e-13) & (gap < 1e-12 * np.abs(edges))
    assert np.allclose(before[resolved], after[resolved], atol=1e-2)


def test_a_quantile_front_makes_heavy_tails_normal() -> None:
    for name in ("normal", "lognormal", "cauchy"):
        sample = samples()[name]
        y, _ = quantile_front(sample).forward(sample)
        levels = np.array([0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])
        expected = [NormalDist().inv_cdf(level) for level in levels]
        assert np.allclose(quantile(np.sort(y), levels), expected, atol=0.05), name


def test_tied_data_gives_slopes_neither_zero_nor_infinite() -> None:
    zeros = np.sort(np.concatenate([np.zeros(950), np.linspace(1e-12, 1.0, 50)]))
    many = np.sort(np.concatenate([np.repeat([0.0, 1.0], 5000), np.random.default_rng(0).normal(size=9000)]))
    for sample in (zeros, many):
        front = quantile_front(sample)
        if front is None:
            continue
        slopes = front.shape.slopes
        assert (slopes > 0).all()
        assert np.isfinite(slopes).all()
        assert slopes.max() / slopes.min() < 1e17


def test_steep_segments_are_bounded_and_stay_in_order() -> None:
    sample = np.sort(np.concatenate([np.zeros(5000), 1e-30 * np.arange(1, 5001), np.linspace(1, 2, 5000)]))
    front = quantile_front(sample)
    assert front is not None
    typical = np.median(np.diff(front.shape.scores) / np.diff(front.shape.knots))
    assert front.shape.slopes.max() <= typical * 1.001e8
    assert (np.diff(front.shape.scores) > 0).all()


@pytest.mark.parametrize(
    "sample",
    [
        np.arange(50.0),
        np.repeat([0.0, 1.0], 500),
        np.linspace(-1, 1, 900) * 1.7e308,
        np.arange(900) * 5e-324,
    ],
    ids=["short", "two values", "too wide", "subnormal"],
)
def test_a_sample_without_a_curve_is_left_to_a_line(sample: np.ndarray) -> None:
    assert quantile_front(sample) is None
    front = robust_front(sample)
    y, log_slope = front.forward(sample)
    assert np.isfinite(y).all()
    assert np.isfinite(log_slope).all()


def test_tails_are_logarithmic_beyond_the_bend() -> None:
    front = Front("standard", Line(0.0, 1.0))
    y, log_slope = front.forward(np.array([-30.0, 30.0, 30 * math.e, -1e300]))
    assert y[:3].tolist() == pytest.approx([-30.0, 30.0, 60.0])
    assert log_slope[2] == pytest.approx(-1.0)
    assert y[3] == pytest.approx(-30 * (1 + math.log(1e300 / 30)))


def test_an_absurd_code_decodes_to_the_largest_number() -> None:
    for front in FRONTS:
        assert front.inverse(np.array([[1e9, -1e9]])).tolist() == [[LARGEST, -LARGEST]]


def test_an_overflowing_variance_has_no_standard_front() -> None:
    assert standard_front(1.0, math.inf) is None
    assert standard_front(math.nan, math.nan) is None
    assert standard_front(1.0, 0.0) is None


def test_the_spread_of_tied_samples_is_positive() -> None:
    assert spread(np.array([0.0] * 999 + [1.0])) > 0
    assert spread(np.array([0.0, 5e-324])) > 0
    assert math.isfinite(spread(np.array([-LARGEST, LARGEST])))
    normal = np.sort(np.random.default_rng(1).normal(size=20_000))
    assert spread(normal) == pytest.approx(1.0, abs=0.02)


@every_front
def test_a_front_survives_json_with_the_same_bits(front: Front) -> None:
    import json

    again = Front.from_dict(json.loads(json.dumps(front.to_dict())))
    x = spots(front)
    for ours, theirs in zip(front.forward(x), again.forward(x), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    assert front.kind == again.kind
