"""The conditioner network."""

from __future__ import annotations

import pytest
import torch

from flowguard.density.masked import MaskedNetwork, squash, with_context


def reach(network: MaskedNetwork, inputs: int) -> torch.Tensor:
    """Which input moves which target, bool `(targets, inputs)`."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.1)
    x = torch.rand(1, inputs) + 0.1
    jacobian = torch.autograd.functional.jacobian(lambda v: network(v)[0].sum(-1), x)[:, 0]
    return jacobian != 0


def test_a_target_sees_exactly_the_inputs_of_lower_degree() -> None:
    for columns in (1, 2, 3, 5):
        degree = list(range(1, columns + 1))
        network = MaskedNetwork([*degree, 0, 0], degree, size=2, hidden=(16, 16))
        expected = torch.cat((torch.ones(columns, columns).tril(-1), torch.ones(columns, 2)), dim=1).bool()
        assert torch.equal(reach(network, columns + 2), expected)


def test_every_dependence_survives_fewer_hidden_units_than_columns() -> None:
    degree = list(range(1, 41))
    network = MaskedNetwork([*degree, 0], degree, size=3, hidden=(4, 7))
    expected = torch.cat((torch.ones(40, 40).tril(-1), torch.ones(40, 1)), dim=1).bool()
    assert torch.equal(reach(network, 41), expected)


def test_with_nothing_to_see_it_is_a_constant() -> None:
    network = MaskedNetwork([1], [1], size=4, hidden=(8,))
    assert [name for name, _ in network.named_parameters()] == ["constant"]
    assert network(torch.randn(5, 1)).shape == (5, 1, 4)
    assert network(torch.randn(5, 1), 0).shape == (5, 4)


def test_one_target_alone_equals_that_target_of_all() -> None:
    torch.manual_seed(0)
    network = MaskedNetwork([1, 2, 3, 0], [1, 2, 3], size=5, hidden=(16, 16))
    x = torch.randn(9, 4)
    for target in range(3):
        torch.testing.assert_close(network(x, target), network(x)[:, target])


def test_a_new_network_returns_nearly_zero() -> None:
    network = MaskedNetwork([1, 2, 0, 0], [1, 2], size=5, hidden=(64, 64))
    assert network(torch.randn(100, 4)).abs().max() < 0.1


def test_hidden_layers_need_units() -> None:
    with pytest.raises(ValueError, match="positive widths"):
        MaskedNetwork([0], [1], size=1, hidden=())


def test_squashing_is_exact_up_to_thirty_and_then_logarithmic() -> None:
    x = torch.tensor([-1e6, -30.0, -1.5, 0.0, 29.0, 31.0, 1e30], dtype=torch.float64, requires_grad=True)
    squashed = squash(x)
    assert squashed[1:5].tolist() == x[1:5].tolist()
    assert squashed[0].item() == pytest.approx(-30 * (1 + torch.tensor(1e6 / 30).log().item()), rel=1e-6)
    assert (squashed.diff() > 0).all()
    squashed.sum().backward()
    assert x.grad is not None
    assert ((x.grad > 0) & (x.grad <= 1)).all()


def test_a_context_of_the_wrong_width_is_refused() -> None:
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"context has shape \(3, 0\); expected \(3, 4\)"):
        with_context(x, None, 4)
    with pytest.raises(ValueError, match=r"context has shape \(2, 4\); expected \(3, 4\)"):
        with_context(x, torch.zeros(2, 4), 4)
    assert with_context(x, torch.zeros(3, 0), 0).shape == (3, 2)
