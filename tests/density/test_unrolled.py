"""A masked network whose inputs become known one after another."""

from __future__ import annotations

import pytest
import torch

from flowguard.density.masked import MaskedNetwork


def trained(network: MaskedNetwork, *, seed: int = 0) -> MaskedNetwork:
    """In float64, every parameter drawn anew: a new network returns nearly 0 whatever it sees."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.double().parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def unrolled_and_whole(
    inputs: list[int], targets: list[int], hidden: tuple[int, ...], dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Parameters of every target as soon as what it sees is known, and those of the network as one."""
    network = trained(MaskedNetwork(inputs, targets, size=3, hidden=hidden)).to(dtype)
    x = torch.randn(7, len(inputs), generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    degrees = torch.tensor(inputs)
    unrolled, found = network.unrolled(x[:, degrees == 0]), torch.full((7, len(targets), 3), torch.nan, dtype=dtype)
    for degree in range(1, max(targets) + 1):
        for target in (place for place, of in enumerate(targets) if of == degree):
            found[:, target] = unrolled.parameters(target)
        if degree in inputs:
            unrolled.reveal(degree, x[:, degrees == degree])
    return found, network(x)


@pytest.mark.parametrize("hidden", [(8,), (64, 64), (32, 16, 16), (3, 5), (1, 40, 40)])
@pytest.mark.parametrize("columns", [1, 2, 5, 70])
@pytest.mark.parametrize("context", [0, 1, 3])
def test_it_returns_what_it_returns_as_a_whole(hidden: tuple[int, ...], columns: int, context: int) -> None:
    order = torch.randperm(columns, generator=torch.Generator().manual_seed(2)) + 1
    for degree in (list(range(1, columns + 1)), order.tolist()):
        with torch.no_grad():
            found, expected = unrolled_and_whole([*degree, *[0] * context], degree, hidden)
        assert columns + context == 1 or expected.std() > 0.1
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_it_keeps_apart_inputs_that_share_a_degree_or_stand_among_the_free_ones() -> None:
    with torch.no_grad():
        found, expected = unrolled_and_whole([3, 0, 1, 1, 5, 0, 3], [6, 1, 1, 4, 2], (9, 9, 4))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_a_target_is_the_same_once_more_is_known_than_it_sees() -> None:
    network = trained(MaskedNetwork([2, 1, 3, 0], [2, 1, 3], size=3, hidden=(16, 16)))
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    unrolled = network.unrolled(x[:, 3:])
    for degree, column in enumerate((1, 0, 2), start=1):
        unrolled.reveal(degree, x[:, column : column + 1])
    for target in range(3):
        torch.testing.assert_close(unrolled.parameters(target), network(x, target), rtol=0, atol=1e-11)


def test_it_keeps_the_precision_of_its_inputs() -> None:
    with torch.no_grad():
        found, expected = unrolled_and_whole([2, 1, 3, 0], [2, 1, 3], (16, 16), torch.float32)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_it_takes_no_records_too() -> None:
    network = MaskedNetwork([1, 2, 0], [1, 2], size=4, hidden=(8, 8))
    unrolled = network.unrolled(torch.zeros(0, 1))
    unrolled.reveal(1, torch.zeros(0, 1))
    assert unrolled.parameters(1).shape == (0, 4)


def test_every_unit_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Multiplications per record of all targets: those that the masks leave, and not one more."""
    columns, made = 30, 0

    def counted(bias: torch.Tensor, weight: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        nonlocal made
        made += weight.numel()
        return torch.baddbmm(bias[None], weight[None], known[None])[0]

    monkeypatch.setattr("flowguard.density.unrolled.torch.addmm", counted)
    degree = list(range(1, columns + 1))
    network = MaskedNetwork([*degree, 0], degree, size=4, hidden=(64, 64, 12))
    unrolled = network.unrolled(torch.zeros(2, 1))
    for target in range(columns):
        unrolled.parameters(target)
        unrolled.reveal(target + 1, torch.zeros(2, 1))
    masked = [*network.layers, network.output]
    assert made == sum(int(layer.mask.sum()) for layer in masked)  # type: ignore[union-attr, operator]


def test_it_refuses_inputs_out_of_turn_and_targets_ahead_of_them() -> None:
    unrolled = MaskedNetwork([1, 2, 3, 0], [1, 2, 3], size=1, hidden=(8,)).unrolled(torch.zeros(5, 1))
    with pytest.raises(ValueError, match=r"degree 2 come after 2 others and are \(5, 1\); got \(5, 1\) after 1"):
        unrolled.reveal(2, torch.zeros(5, 1))
    with pytest.raises(ValueError, match=r"degree 1 come after 1 others and are \(5, 1\); got \(5, 2\) after 1"):
        unrolled.reveal(1, torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"target 2 sees 3 inputs; only 1 are known"):
        unrolled.parameters(2)
