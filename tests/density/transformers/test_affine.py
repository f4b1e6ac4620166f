"""The affine transformer."""

from __future__ import annotations

import torch
from zuko.transforms import MonotonicAffineTransform

from flowguard.density.transformers import Affine
from flowguard.density.transformers.affine import bounded_location, bounded_log_scale


def test_it_agrees_with_zuko_given_the_same_location_and_scale() -> None:
    torch.manual_seed(1)
    x, parameters = 3 * torch.randn(500, dtype=torch.float64), torch.randn(500, 2, dtype=torch.float64)
    affine = Affine()
    y, log_slope = affine.forward(x, parameters)
    location = bounded_location(parameters[:, 0], affine.location)
    log_scale = bounded_log_scale(parameters[:, 1], affine.low, affine.high)
    # zuko writes exp(a) x + b, and clamps a softly by a slope that we make vanish.
    oracle = MonotonicAffineTransform(-location * log_scale.exp(), log_scale, slope=1e-300)
    oracle.log_scale, oracle.scale = log_scale, log_scale.exp()
    expected, expected_log_slope = oracle.call_and_ladj(x)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_slope, expected_log_slope, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(affine.inverse(y, parameters), x, rtol=1e-12, atol=1e-12)


def test_location_is_exact_in_its_middle_half_and_never_passes_its_bound() -> None:
    raw = torch.tensor([-1e30, -60.0, -50.0, -3.0, 0.0, 50.0, 1e30])
    bounded = bounded_location(raw, 100.0)
    assert bounded[2:6].tolist() == raw[2:6].tolist()
    assert bounded.abs().max() <= 100
    assert -60 < bounded[1] < -50


def test_log_scale_has_its_own_bound_on_each_side() -> None:
    raw = torch.tensor([-1e30, -1e-4, 0.0, 1e-4, 1e30], requires_grad=True)
    bounded = bounded_log_scale(raw, -2.0, 7.0)
    torch.testing.assert_close(bounded, torch.tensor([-2.0, -1e-4, 0.0, 1e-4, 7.0]))
    bounded.sum().backward()
    assert raw.grad is not None
    torch.testing.assert_close(raw.grad, torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0]))


def test_zero_parameters_are_the_identity() -> None:
    x = torch.tensor([-1e6, 0.5, 1e6])
    y, log_slope = Affine().forward(x, torch.zeros(3, 2))
    assert y.tolist() == x.tolist()
    assert log_slope.tolist() == [0, 0, 0]
