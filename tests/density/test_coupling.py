"""The coupling bijection."""

from __future__ import annotations

import pytest
import torch

from flowguard.density import Coupling
from flowguard.density.transformers import Affine


def test_passed_columns_are_untouched_and_the_others_are_not() -> None:
    torch.manual_seed(0)
    layer = Coupling(5, Affine(), transformed=[4, 1], context=1)
    x = torch.randn(30, 5)
    z, _ = layer(x, torch.ones(30, 1))
    assert torch.equal(z[:, [0, 2, 3]], x[:, [0, 2, 3]])
    assert (z[:, [1, 4]] != x[:, [1, 4]]).any(0).all()


def test_a_single_column_is_transformed_given_the_context_alone() -> None:
    torch.manual_seed(0)
    layer = Coupling(1, Affine(), transformed=[0], context=2)
    x = torch.randn(10, 1)
    near, _ = layer(x, torch.zeros(10, 2))
    far, _ = layer(x, torch.ones(10, 2))
    assert (near != far).all()


def test_it_needs_columns_that_exist() -> None:
    for transformed in ([], [3], [-1]):
        with pytest.raises(ValueError, match="some of 3 columns"):
            Coupling(3, Affine(), transformed=transformed)
