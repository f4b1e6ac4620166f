"""Linear mixing; what holds for every bijection is in test_laws.py."""

from __future__ import annotations

import pytest
import torch

from flowguard.density import Mixing, realnvp


def stirred(features: int, *, scale: float = 0.5) -> Mixing:
    layer = Mixing(features).double()
    generator = torch.Generator().manual_seed(features)
    with torch.no_grad():
        layer.entries.copy_(scale * torch.randn(features, features, generator=generator, dtype=torch.float64))
    return layer


def test_a_new_one_is_the_identity() -> None:
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    z, log_det = Mixing(4)(x)
    assert torch.equal(z, x)
    assert (log_det == 0).all()


def test_every_column_reaches_every_other_and_the_matrix_is_the_product_of_its_factors() -> None:
    layer = stirred(5)
    lower, upper, log_diagonal = layer.factors()
    matrix = layer(torch.eye(5, dtype=torch.float64))[0].T
    torch.testing.assert_close(matrix, lower @ upper)
    assert (matrix.abs() > 1e-6).all()
    torch.testing.assert_close(torch.linalg.slogdet(matrix).logabsdet, log_diagonal.sum())


@pytest.mark.parametrize("features", [2, 3, 30])
def test_what_is_observed_alone_is_mapped_one_to_one(features: int) -> None:
    layer = stirred(features, scale=0.3)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, features, generator=generator, dtype=torch.float64)
    observed = torch.rand(40, features, generator=generator) > 0.4
    z, _ = layer(x, observed=observed)
    torch.testing.assert_close(layer.inverse(z, observed=observed), x.masked_fill(~observed, 0.0))
    everything = torch.ones_like(observed)
    torch.testing.assert_close(layer.inverse(x, observed=everything), layer.inverse(x))


def test_no_weights_make_it_singular() -> None:
    lower, upper, log_diagonal = stirred(6, scale=1e6).factors()
    assert max(lower.abs().max().item(), (upper - torch.diag(upper.diagonal())).abs().max().item()) <= 1
    assert log_diagonal.abs().max() <= 1


def test_columns_of_one_half_that_go_together_are_learned_sooner() -> None:
    """Six nearly equal columns: a coupling layer takes those of its own half as independent."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1000, 1, generator=generator) + 0.1 * torch.randn(1000, 6, generator=generator)
    reached = {}
    for mixing in ("none", "lu"):
        flow = realnvp(6, layers=2, hidden=(4,), mixing=mixing, seed=1)  # type: ignore[arg-type]
        optimizer = torch.optim.Adam(flow.parameters(), lr=0.02)
        for _ in range(100):
            optimizer.zero_grad()
            (-flow.log_prob(x).mean()).backward()
            optimizer.step()
        reached[mixing] = flow.log_prob(x).mean().item()
    assert reached["lu"] > reached["none"] + 0.03


def test_one_column_has_nothing_to_mix() -> None:
    with pytest.raises(ValueError, match="at least two columns"):
        Mixing(1)
