"""The rational-quadratic spline."""

from __future__ import annotations

import pytest
import torch
from zuko.transforms import MonotonicRQSTransform

from flowguard.density.transformers import Spline


def parameters_for(spline: Spline, n: int, *, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return scale * torch.randn(n, spline.size, generator=generator, dtype=torch.float64)


def test_it_agrees_with_zuko_through_the_same_knots_and_slopes() -> None:
    spline = Spline(bins=8)
    parameters = parameters_for(spline, 2000)
    knots, slopes = spline.knots_and_slopes(parameters)
    oracle = MonotonicRQSTransform(parameters[:, :8], parameters[:, 8:16], parameters[:, 16:], bound=spline.bound)
    oracle.horizontal, oracle.vertical, oracle.derivatives = knots[:, 0], knots[:, 1], slopes
    x = torch.linspace(-9, 9, 2000, dtype=torch.float64)
    y, log_slope = spline.forward(x, parameters)
    expected, expected_log_slope = oracle.call_and_ladj(x)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_slope, expected_log_slope, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(spline.inverse(x, parameters), oracle.inv(x), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0, 1e30])
def test_it_increases_everywhere_with_finite_slopes_whatever_the_parameters(scale: float) -> None:
    spline = Spline(bins=6)
    parameters = parameters_for(spline, 1, scale=scale)
    x = torch.linspace(-10, 10, 4001, dtype=torch.float64, requires_grad=True)
    y, log_slope = spline.forward(x, parameters.expand(4001, -1))
    assert (y.diff() > 0).all()
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope.exp(), slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outside_the_box_it_is_the_identity_and_never_nan(dtype: torch.dtype) -> None:
    spline = Spline()
    x = torch.tensor([-1e30, -1e6, -8.01, 8.01, 1e6, 1e30], dtype=dtype, requires_grad=True)
    parameters = parameters_for(spline, 6, scale=3.0).to(dtype).requires_grad_()
    y, log_slope = spline.forward(x, parameters)
    torch.testing.assert_close(y, x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-5)
    (y.sum() / 1e30 + log_slope.sum()).backward()
    assert x.grad is not None
    assert parameters.grad is not None
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(parameters.grad).all()
    torch.testing.assert_close(spline.inverse(x, parameters), x, rtol=1e-6, atol=1e-6)


def test_bins_keep_a_least_width_and_height_and_slopes_their_range() -> None:
    spline = Spline(bins=4, least=0.01, steepest=2.0)
    knots, slopes = spline.knots_and_slopes(parameters_for(spline, 300, scale=1e3))
    assert knots.diff(dim=-1).min() > 0.01 * 16 * 0.999
    assert slopes.log().abs().max() <= 2 + 1e-12
    assert (knots[..., 0] == -8).all()
    torch.testing.assert_close(knots[..., -1], torch.full((300, 2), 8.0, dtype=torch.float64))


@pytest.mark.parametrize("bins", [1, 0, 200])
def test_bins_that_do_not_fit_the_box_are_refused(bins: int) -> None:
    with pytest.raises(ValueError, match="a spline needs 2 to 125 bins"):
        Spline(bins)
