"""What networks see of far-out values; that hidden units hardly see them is in test_masked.py."""

from __future__ import annotations

import pytest
import torch

from flowguard.density.squash import squash


def test_squashing_is_exact_up_to_thirty_and_then_logarithmic() -> None:
    x = torch.tensor([-1e6, -30.0, -1.5, 0.0, 29.0, 31.0, 1e30], dtype=torch.float64, requires_grad=True)
    squashed = squash(x)
    assert squashed[1:5].tolist() == x[1:5].tolist()
    assert squashed[0].item() == pytest.approx(-30 * (1 + torch.tensor(1e6 / 30).log().item()), rel=1e-6)
    assert (squashed.diff() > 0).all()
    squashed.sum().backward()
    assert x.grad is not None
    assert ((x.grad > 0) & (x.grad <= 1)).all()


def test_a_value_is_the_same_whether_or_not_another_is_far_out() -> None:
    x = torch.tensor([-3.0, -0.0, 0.1, 29.9])
    assert torch.equal(squash(torch.cat((x, torch.tensor([1e6]))))[:4], squash(x))
