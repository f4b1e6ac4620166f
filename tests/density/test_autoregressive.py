"""The masked autoregressive bijection."""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import pytest
import torch
from scipy import stats

from flowguard.density import Autoregressive, Chain, Flow, maf
from flowguard.density.bijection import hold
from flowguard.density.masked import MaskedNetwork
from flowguard.density.transformers import Affine


def test_a_linear_gaussian_layer_has_the_density_of_that_gaussian() -> None:
    """x0 ~ N(1 + c, e^-0.6), x1 | x0 ~ N(0.5 + 2 x0 - c, e^0.8) as variances, in closed form."""
    layer = Autoregressive(2, Affine(low=-20, high=20), context=1, hidden=(4,)).double()
    network = layer.network
    assert isinstance(network, MaskedNetwork)
    log_scale = 20 * torch.atanh(torch.tensor([0.3, -0.4], dtype=torch.float64) / 20)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        assert network.output.bias is not None
        network.output.bias.copy_(torch.stack((torch.tensor([1.0, 0.5]).double(), log_scale), 1).flatten())
        network.direct.weight.copy_(torch.tensor([[0.0, 0.0, 1.0], [2.0, 0.0, -1.0]]))
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for c in (0.0, 0.7):
        context = torch.full((100, 1), c, dtype=torch.float64)
        covariance = torch.tensor([[1.0, 2.0], [2.0, 4.0]]) * torch.tensor(-0.6).exp().double()
        covariance[1, 1] += torch.tensor(0.8).exp()
        mean = [1 + c, 0.5 + 2 * (1 + c) - c]
        expected = torch.as_tensor(stats.multivariate_normal(mean, covariance.numpy()).logpdf(x.numpy()))
        torch.testing.assert_close(Flow(layer).log_prob(x, context), expected, rtol=1e-6, atol=1e-6)


def test_an_order_must_name_each_column_once() -> None:
    for order in ((0, 0), (0,), (0, 2)):
        with pytest.raises(ValueError, match="each of 2 columns once"):
            Autoregressive(2, Affine(), order=order)
    with pytest.raises(ValueError, match="each of 0 columns once"):
        Autoregressive(0, Affine())


def test_a_missing_column_inverts_to_zero() -> None:
    layer = Autoregressive(2, Affine())
    observed = torch.tensor([[True, False], [True, True]])
    value = layer.invert_column(torch.zeros(2, 2), torch.ones(2), 1, observed=observed)
    assert value[0] == 0
    assert value[1] != 0


def test_a_far_out_column_leaves_the_parameters_of_the_next_bounded() -> None:
    torch.manual_seed(0)
    layer = Autoregressive(2, Affine(), hidden=(32, 32))
    x = torch.tensor([[1e6, 0.0]])
    z, log_slope = layer.forward_columns(x)
    assert abs(z[0, 1]) < 100 * 7
    assert torch.isfinite(log_slope).all()


def column_by_column(
    layer: Autoregressive, z: torch.Tensor, context: torch.Tensor | None, observed: torch.Tensor | None
) -> torch.Tensor:
    """The inverse by its definition: a whole pass of the network for each column."""
    x = torch.zeros_like(z)
    for column in layer.order:
        value = layer.invert_column(x.clone(), z[:, column], column, context, observed=observed)
        x = torch.cat((x[:, :column], value[:, None], x[:, column + 1 :]), 1)
    return x


def stack(columns: int, context: int, **settings: Any) -> list[Autoregressive]:
    """Two layers in float64 with every parameter moved at random, as if trained."""
    flow = maf(columns, context=context, layers=2, bins=5, components=4, seed=3, **settings).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return [cast(Autoregressive, part) for part in cast(Chain, flow.bijection).parts]


@pytest.mark.parametrize("transformer", ["affine", "spline", "mixture"])
@pytest.mark.parametrize("columns", [1, 2, 5, pytest.param(70, marks=pytest.mark.e2e)])
def test_the_inverse_equals_that_of_a_pass_per_column(transformer: str, columns: int) -> None:
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(6, columns, generator=generator, dtype=torch.float64)
    some = torch.rand(6, columns, generator=generator) > 0.4
    some[0], some[1] = True, False
    axes = ("single", "alternate", "random"), ((8,), (64, 64), (32, 16, 16)), (0, 3)
    # Seventy passes of a mixture take their time: there, each order and each shape once.
    settings = product(*axes) if columns < 70 else zip(*axes[:2], (3, 3, 0), strict=True)
    for order, hidden, width in settings:
        context = torch.randn(6, width, generator=generator, dtype=torch.float64) if width else None
        layers = stack(columns, width, transformer=transformer, order=order, hidden=hidden)
        for layer, observed in product(layers, (None, some)):
            with torch.no_grad():
                found = layer.inverse(z, context, observed=observed)
                expected = column_by_column(layer, z, context, observed)
                back, _ = layer(found, context, observed=observed)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
            assert observed is None or (found[~observed] == 0).all()
            torch.testing.assert_close(back, hold(z, observed), rtol=0, atol=1e-8)


def test_the_inverse_keeps_float32() -> None:
    for layer in stack(5, 2, order="random"):
        context, z = torch.ones(9, 2), torch.randn(9, 5, generator=torch.Generator().manual_seed(6))
        found = layer.float().inverse(z, context)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, column_by_column(layer, z, context, None), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("transformer", ["affine", "spline", "mixture"])
def test_the_inverse_has_the_gradients_of_a_pass_per_column(transformer: str) -> None:
    observed = torch.rand(6, 4, generator=torch.Generator().manual_seed(7)) > 0.2
    for layer, mask in product(stack(4, 2, transformer=transformer, order="random"), (None, observed)):
        generator = torch.Generator().manual_seed(8)
        z, context = (torch.randn(6, width, generator=generator, dtype=torch.float64) for width in (4, 2))
        wanted = [z.requires_grad_(), context.requires_grad_(), *layer.parameters()]
        found = torch.autograd.grad(layer.inverse(z, context, observed=mask).square().sum(), wanted)
        expected = torch.autograd.grad(column_by_column(layer, z, context, mask).square().sum(), wanted)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
        assert all(gradient.abs().max() > 0 for gradient in found)


def test_what_stands_in_a_missing_cell_does_not_reach_the_inverse() -> None:
    layer = stack(5, 0, order="random")[1]
    z = torch.randn(6, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    observed = torch.rand(6, 5, generator=torch.Generator().manual_seed(10)) > 0.4
    junk = layer.inverse(z.masked_fill(~observed, torch.nan), observed=observed)
    assert torch.equal(junk, layer.inverse(z, observed=observed))


def test_the_inverse_refuses_a_context_of_the_wrong_width() -> None:
    layer = Autoregressive(2, Affine(), context=4)
    with pytest.raises(ValueError, match=r"context has shape \(3, 0\); expected \(3, 4\)"):
        layer.inverse(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"context has shape \(2, 4\); expected \(3, 4\)"):
        layer.inverse(torch.zeros(3, 2), torch.zeros(2, 4))
