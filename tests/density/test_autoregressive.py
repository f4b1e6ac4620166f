"""The masked autoregressive bijection."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from flowguard.density import Autoregressive, Flow
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
