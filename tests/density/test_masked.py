"""The conditioner network."""

from __future__ import annotations

import pytest
import torch

from flowguard.density.masked import MaskedNetwork, with_context
from flowguard.density.squash import calm


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


def test_a_context_of_the_wrong_width_is_refused() -> None:
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"context has shape \(3, 0\); expected \(3, 4\)"):
        with_context(x, None, 4)
    with pytest.raises(ValueError, match=r"context has shape \(2, 4\); expected \(3, 4\)"):
        with_context(x, torch.zeros(2, 4), 4)
    assert with_context(x, torch.zeros(3, 0), 0).shape == (3, 2)


def test_hidden_units_hardly_see_how_far_out_a_value_is_and_the_direct_path_does() -> None:
    x = torch.tensor([-1e6, -30.0, -5.0, -0.3, 0.0, 4.9, 5.1, 1e6], dtype=torch.float64)
    seen = calm(x)
    assert (seen.diff() > 0).all()
    assert torch.equal(seen[2:6], x[2:6])
    assert seen.abs().max() < 67
    network = MaskedNetwork([1], [2], size=3, hidden=(16,)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
        near, far = network(torch.tensor([[20.0], [2000.0]], dtype=torch.float64))[:, 0]
        slope = network.direct.weight.item()
    assert (far[1:] - near[1:]).abs().max() < 60 * 16, "logarithmic: not a hundred times as far"
    assert (far[0] - near[0]).item() == pytest.approx(1980 * slope, abs=60 * 16)


def permuted_network() -> MaskedNetwork:
    """In eval, with inputs and targets out of order, some of one degree, and weights that matter."""
    network = MaskedNetwork([3, 0, 1, 2], [2, 3, 1, 3], size=2, hidden=(40, 40, 70)).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def test_all_targets_and_each_by_itself_are_the_same_in_any_order_of_degrees() -> None:
    network = permuted_network()
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    alone = torch.stack([network(x, target) for target in range(4)], 1)
    torch.testing.assert_close(network(x), alone, rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(network(x), alone, rtol=0, atol=1e-12)


def test_derivatives_are_those_of_each_target_by_itself() -> None:
    network = permuted_network()
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    given = torch.randn(9, 4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    alone = torch.stack([network(x, target) for target in range(4)], 1)
    asked = [x, *network.parameters()]
    expected = torch.autograd.grad((alone * given).sum(), asked)
    found = torch.autograd.grad((network(x) * given).sum(), asked)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_folded_weights_follow_whatever_happens_to_the_parameters() -> None:
    network, x = permuted_network(), torch.ones(3, 4, dtype=torch.float64)
    with torch.no_grad():
        first = network(x)
        network.output.bias.add_(1.0)
        torch.testing.assert_close(network(x), first + 1)
        network.load_state_dict(permuted_network().state_dict())
        assert torch.equal(network(x), first)
        network.output.bias = torch.nn.Parameter(network.output.bias + 2)
        torch.testing.assert_close(network(x), first + 2)
        network.float()
        torch.testing.assert_close(network(x.float()), (first + 2).float(), rtol=1e-5, atol=1e-5)
        assert list(network.state_dict()) == list(permuted_network().state_dict())


def test_what_a_network_returned_stays_what_it_was() -> None:
    network = permuted_network()
    for records in (1, 3):
        x = torch.ones(records, 4, dtype=torch.float64)
        with torch.no_grad():
            found = network(x)
            before = found.clone()
            network(5 * x)
        assert torch.equal(found, before)


def test_dropout_takes_hidden_values_in_training_alone_and_keeps_their_mean() -> None:
    network = MaskedNetwork([1], [2], size=1, hidden=(16,), dropout=0.4).double()
    torch.manual_seed(0)
    with torch.no_grad():
        network.output.weight.fill_(1.0)
        network.layers[0].weight.fill_(1.0)
    drawn = network(torch.ones(20_000, 1, dtype=torch.float64))
    assert drawn.unique().numel() > 5
    assert drawn.mean().item() == pytest.approx(network.eval()(torch.ones(1, 1, dtype=torch.float64)).item(), rel=0.01)
