"""Transformers in a row."""

from __future__ import annotations

import torch

from flowguard.density.transformers import Affine, Composed, Spline


def test_parts_are_applied_in_turn_each_with_its_own_parameters() -> None:
    torch.manual_seed(2)
    affine, spline = Affine(), Spline(4)
    pair = Composed((affine, spline))
    assert pair.size == affine.size + spline.size
    x, parameters = torch.randn(50, dtype=torch.float64), torch.randn(50, pair.size, dtype=torch.float64)
    middle, first = affine.forward(x, parameters[:, :2])
    expected, second = spline.forward(middle, parameters[:, 2:])
    y, log_slope = pair.forward(x, parameters)
    assert torch.equal(y, expected)
    assert torch.equal(log_slope, first + second)
    torch.testing.assert_close(pair.inverse(y, parameters), x)


def test_the_affine_part_carries_the_box_of_the_spline_to_the_data() -> None:
    pair = Composed((Affine(), Spline(4)))
    parameters = torch.zeros(1, pair.size)
    parameters[0, 0], parameters[0, 3] = 40.0, 2.0
    y, log_slope = pair.forward(torch.tensor([40.5]), parameters)
    assert y.item() != 0.5
    assert log_slope.item() != 0
