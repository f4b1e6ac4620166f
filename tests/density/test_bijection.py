"""The contract and composition."""

from __future__ import annotations

import math

import pytest
import torch

from flowguard.density import Autoregressive, Bijection, Chain, Coupling
from flowguard.density.bijection import hold
from flowguard.density.transformers import Affine


def test_holding_replaces_whatever_is_missing_by_zero() -> None:
    values = torch.tensor([[1.0, math.nan], [math.inf, 2.0]])
    observed = torch.tensor([[True, False], [False, True]])
    assert hold(values, observed).tolist() == [[1, 0], [0, 2]]
    assert hold(values, None) is values


def test_a_chain_is_triangular_only_in_one_common_order() -> None:
    ahead, back = Autoregressive(3, Affine()), Autoregressive(3, Affine(), order=(2, 1, 0))
    assert Chain([ahead, ahead]).triangular
    assert Chain([back, back]).order == (2, 1, 0)
    assert not Chain([ahead, back]).triangular
    assert not Chain([ahead, Coupling(3, Affine(), transformed=[0])]).triangular


def test_what_is_not_triangular_refuses_columns() -> None:
    chain = Chain([Autoregressive(2, Affine()), Autoregressive(2, Affine(), order=(1, 0))])
    x = torch.zeros(1, 2)
    for bijection in (chain, Coupling(2, Affine(), transformed=[0])):
        with pytest.raises(TypeError, match="no single column order"):
            bijection.forward_columns(x)
        with pytest.raises(TypeError, match="no single column order"):
            bijection.invert_column(x, x[:, 0], 0)


def test_a_chain_refuses_parts_of_different_width() -> None:
    with pytest.raises(ValueError, match="disagree"):
        Chain([Autoregressive(2, Affine()), Autoregressive(3, Affine())])
    with pytest.raises(ValueError, match="at least one"):
        Chain([])


def test_the_contract_itself_computes_nothing() -> None:
    with pytest.raises(NotImplementedError):
        Bijection()(torch.zeros(1, 1))
    with pytest.raises(NotImplementedError):
        Bijection().inverse(torch.zeros(1, 1))


def test_inverting_one_column_gives_back_its_value() -> None:
    torch.manual_seed(0)
    chain = Chain([Autoregressive(3, Affine(), order=(1, 2, 0)) for _ in range(3)]).double()
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    x = torch.randn(20, 3, dtype=torch.float64)
    z, _ = chain(x)
    for place, column in enumerate((1, 2, 0)):
        known = x.clone()
        known[:, [1, 2, 0][place:]] = 99.0
        torch.testing.assert_close(chain.invert_column(known, z[:, column], column), x[:, column])
