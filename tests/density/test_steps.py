"""The probability of an integer's step."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import logistic

from flowguard.density.steps import Steps

STEPS = Steps(4)


def parameters(n: int, *, scale: float = 0.5, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return (scale * torch.randn(n, STEPS.size, generator=generator, dtype=torch.float64)).to(dtype)


def test_it_is_the_mixture_that_scipy_computes() -> None:
    given = parameters(50)
    lower = torch.linspace(-6, 6, 50, dtype=torch.float64)
    log_weight, location, log_scale = (part.numpy() for part in STEPS._read(given))
    rise = logistic.cdf(lower[:, None] + 0.3, location, math.e**log_scale) - logistic.cdf(
        lower[:, None], location, math.e**log_scale
    )
    expected = (math.e**log_weight * rise).sum(1)
    found = STEPS.log_prob(lower, torch.full((50,), math.log(0.3), dtype=torch.float64), given).exp()
    assert found.numpy() == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("width", [1e-3, 0.1, 3.0])
def test_over_a_lattice_the_steps_sum_to_one(width: float) -> None:
    given = parameters(1, scale=0.2)
    lower = torch.arange(-60, 60, width, dtype=torch.float64)
    total = STEPS.log_prob(lower, torch.full_like(lower, math.log(width)), given).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_finite_and_falls_however_far_out_and_however_narrow_the_step(dtype: torch.dtype) -> None:
    given = parameters(1, scale=2.0, dtype=dtype)
    far = torch.tensor([1e3, 3e3, 1e4, 1e6], dtype=dtype)
    for log_width in (-600.0, -20.0, 0.0, 6.0):
        for side in (far, -far):
            found = STEPS.log_prob(side, torch.full_like(side, log_width), given)
            assert torch.isfinite(found).all()
            assert (found.diff() < 0).all()
            assert (found <= 0).all()


def test_float32_agrees_with_float64() -> None:
    lower = torch.linspace(-20, 20, 200, dtype=torch.float64)
    for log_width in (-14.0, -3.0, 1.0):
        widths = torch.full_like(lower, log_width)
        fine = STEPS.log_prob(lower, widths, parameters(1))
        coarse = STEPS.log_prob(lower.float(), widths.float(), parameters(1, dtype=torch.float32))
        torch.testing.assert_close(coarse.double(), fine, rtol=1e-4, atol=1e-4)


def test_gradients_are_finite_and_right() -> None:
    given = parameters(6).requires_grad_()
    lower = torch.tensor([-40.0, -2.0, 0.0, 0.5, 2.0, 40.0], dtype=torch.float64)
    widths = torch.tensor([-30.0, -3.0, 0.0, 3.0, -16.0, 60.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: STEPS.log_prob(lower, widths, p), (given,))


def test_a_quantile_has_its_probability_below_it() -> None:
    given = parameters(40, scale=1.0)
    for q in (0.001, 0.05, 0.5, 0.95):
        point = STEPS.quantile(torch.full((40,), q, dtype=torch.float64), given)
        below = STEPS.log_prob(point - 1e3, torch.full_like(point, math.log(1e3)), given).exp()
        assert below.numpy() == pytest.approx(q, abs=1e-6)
