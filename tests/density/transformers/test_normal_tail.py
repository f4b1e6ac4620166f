"""The normal's upper tail."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import special

from flowguard.density.transformers.normal_tail import log_tail_and_mills, tail_quantile


def test_tail_and_mills_ratio_agree_with_scipy_on_both_sides() -> None:
    t = torch.cat((torch.linspace(-30, 30, 601), torch.tensor([1e3, 1e6, -1e6]))).double()
    log_tail, log_mills = log_tail_and_mills(t)
    torch.testing.assert_close(log_tail, torch.as_tensor(special.log_ndtr(-t.numpy())), rtol=1e-13, atol=1e-300)
    above = t[t >= 0]
    expected = torch.as_tensor(special.erfcx(above.numpy() / math.sqrt(2))).log() + 0.5 * math.log(math.pi / 2)
    torch.testing.assert_close(log_mills[t >= 0], expected, rtol=1e-13, atol=1e-14)
    density = -0.5 * t**2 - 0.5 * math.log(2 * math.pi)
    near = t.abs() <= 30
    torch.testing.assert_close(log_mills[near], (log_tail - density)[near], rtol=1e-11, atol=1e-11)


def test_derivatives_are_exact_to_the_second_order() -> None:
    t = torch.tensor([-20.0, -3.0, -0.1, 0.0, 0.4, 4.9, 5.1, 12.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log_tail_and_mills, t)
    assert torch.autograd.gradgradcheck(log_tail_and_mills, t)
    log_tail = torch.tensor([-0.6, -1.0, -8.0, -29.0, -31.0, -900.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(tail_quantile, log_tail)
    assert torch.autograd.gradgradcheck(tail_quantile, log_tail)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 2e-6), (torch.float64, 1e-13)])
def test_the_quantile_inverts_the_tail_from_the_middle_to_a_million(dtype: torch.dtype, rtol: float) -> None:
    t = torch.cat((torch.linspace(-0.1, 60, 500), torch.logspace(2, 6, 50))).to(dtype)
    torch.testing.assert_close(tail_quantile(log_tail_and_mills(t)[0]), t, rtol=rtol, atol=rtol)


def test_the_mills_ratio_far_out_falls_like_one_over_t_in_float32() -> None:
    t = torch.tensor([1e2, 1e4, 1e6], requires_grad=True)
    _, log_mills = log_tail_and_mills(t)
    log_mills.sum().backward()
    torch.testing.assert_close(log_mills, -t.detach().log(), rtol=1e-4, atol=1e-4)
    assert t.grad is not None
    torch.testing.assert_close(t.grad, -1 / t.detach(), rtol=1e-3, atol=0)
