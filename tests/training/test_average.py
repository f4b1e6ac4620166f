"""The moving average of the weights, which is what is validated and kept."""

from __future__ import annotations

import torch
from torch import nn

from flowguard.training.average import Average


def steps(weights: list[float]) -> tuple[nn.Linear, Average]:
    """A network of one weight that takes these values in turn, averaged after each."""
    network = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        network.weight.fill_(weights[0])
        average = Average(network)
        for weight in weights[1:]:
            network.weight.fill_(weight)
            average.update(network)
    return network, average


def test_it_is_the_closed_form_of_an_exponential_average() -> None:
    """sum_k (1 - d_k) * w_k * prod of the d_j after k, with d_k = min(0.998, (1 + k) / (10 + k))."""
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(6001, generator=random, dtype=torch.float64)
    _, average = steps(weights.tolist())
    k = torch.arange(1, 6001, dtype=torch.float64)
    decay = torch.minimum(torch.tensor(Average.DECAY, dtype=torch.float64), (1 + k) / (10 + k))
    after = torch.cat([decay.flip(0).cumprod(0).flip(0)[1:], torch.ones(1, dtype=torch.float64)])
    expected = (weights[1:] * (1 - decay) * after).sum() + weights[0] * decay.prod()
    torch.testing.assert_close(average.weights["weight"].squeeze(), expected, rtol=0, atol=1e-12)
    assert decay[-1] == Average.DECAY


def test_the_first_steps_fade_quickly() -> None:
    _, average = steps([1000.0, *[1.0] * 200])
    assert abs(average.weights["weight"].item() - 1.0) < 1e-6


def test_weights_that_stay_are_their_own_average() -> None:
    _, average = steps([2.0] * 50)
    assert average.weights["weight"].item() == 2.0


def test_applying_it_gives_the_current_weights_back_even_after_an_error() -> None:
    network, average = steps([0.0, 8.0])
    assert 0 < average.weights["weight"].item() < 8
    try:
        with average.applied(network):
            assert torch.equal(network.weight, average.weights["weight"])
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert network.weight.item() == 8.0


def test_it_does_not_follow_weights_that_change_later() -> None:
    network, average = steps([0.0, 8.0])
    before = average.weights["weight"].clone()
    with torch.no_grad():
        network.weight.fill_(99.0)
    assert torch.equal(average.weights["weight"], before)
