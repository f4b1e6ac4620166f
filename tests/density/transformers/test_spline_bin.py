"""The bin that a value falls in: the same as by all knots and slopes."""

from __future__ import annotations

import pytest
import torch

from flowguard.density.transformers import Spline
from flowguard.density.transformers.spline_bin import bin_of

SPLINE = Spline(bins=5)


def by_all(values: torch.Tensor, parameters: torch.Tensor, side: int) -> list[torch.Tensor]:
    """Start and span of the bins, and the logarithms of the slopes at their ends, from those of all bins."""
    knots, slopes = SPLINE.knots_and_slopes(parameters)
    left = (values.unsqueeze(-1) >= knots[..., side, 1:-1]).sum(-1, keepdim=True)
    pair = torch.cat((left, left + 1), -1)
    ends = knots.gather(-1, pair.unsqueeze(-2).expand(*pair.shape[:-1], 2, 2))
    raw = torch.nn.functional.pad(parameters[..., 2 * SPLINE.bins :], (1, 1)).gather(-1, pair)
    assert torch.allclose(slopes.gather(-1, pair), (SPLINE.steepest * torch.tanh(raw / SPLINE.steepest)).exp())
    return [found.movedim(-1, 0) for found in (ends[..., 0], ends[..., 1] - ends[..., 0], raw)]


def one(values: torch.Tensor, parameters: torch.Tensor, side: int) -> list[torch.Tensor]:
    return list(bin_of(values, parameters, side=side, bins=SPLINE.bins, least=SPLINE.least, bound=SPLINE.bound))


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("scale", [0.3, 3.0, 50.0])
def test_bin_and_derivatives_are_those_that_all_knots_give(side: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    values = (torch.rand(6, 40, generator=generator, dtype=torch.float64) * 2 - 1) * SPLINE.bound
    parameters = scale * torch.randn(6, 40, SPLINE.size, generator=generator, dtype=torch.float64)
    parameters.requires_grad_()
    found, expected = one(values, parameters, side), by_all(values, parameters, side)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    given = torch.randn(3, 2, 6, 40, generator=generator, dtype=torch.float64)
    grads = [torch.autograd.grad((torch.stack(of) * given).sum(), parameters)[0] for of in (found, expected)]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(found, one(values, parameters, side), strict=True))


def test_how_parameters_lie_in_memory_changes_no_bit() -> None:
    values = torch.rand(3, 16)
    parameters = torch.randn(3, SPLINE.size, 16).transpose(1, 2)
    apart, together = one(values, parameters, 0), one(values, parameters.contiguous(), 0)
    assert all(torch.equal(a, b) for a, b in zip(apart, together, strict=True))


def test_the_ends_of_the_box_are_exact_in_float32() -> None:
    parameters = 3 * torch.randn(500, SPLINE.size, generator=torch.Generator().manual_seed(1))
    start, _, _ = one(torch.full((500,), -SPLINE.bound), parameters, 0)
    assert (start == -SPLINE.bound).all()
    start, span, _ = one(torch.full((500,), SPLINE.bound), parameters, 0)
    torch.testing.assert_close(start + span, torch.full((2, 500), SPLINE.bound), rtol=2e-7, atol=0)
