"""The mixture-CDF transformer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from flowguard.density.transformers import Mixture


def parameters_for(mixture: Mixture, n: int, *, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return scale * torch.randn(n, mixture.size, generator=generator, dtype=torch.float64)


def test_it_maps_by_the_distribution_function_of_its_mixture() -> None:
    mixture = Mixture(5)
    parameters = parameters_for(mixture, 300)
    log_weight, location, log_scale = (t.numpy() for t in mixture.weights_and_shapes(parameters))
    x = torch.linspace(-5, 5, 300, dtype=torch.float64)
    z, log_slope = mixture.forward(x, parameters)
    u = (x.numpy()[:, None] - location) / np.exp(log_scale)
    below = (np.exp(log_weight) * stats.norm.cdf(u)).sum(1)
    np.testing.assert_allclose(stats.norm.cdf(z.numpy()), below, rtol=1e-9)
    # With standard normal z, x has the density of the mixture.
    density = (np.exp(log_weight) * stats.norm.pdf(u) / np.exp(log_scale)).sum(1)
    np.testing.assert_allclose(stats.norm.logpdf(z.numpy()) + log_slope.numpy(), np.log(density), rtol=1e-10)


@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0, 1e3, 1e30])
def test_its_log_slope_is_that_of_autograd_far_out_too(scale: float) -> None:
    mixture = Mixture(6)
    x = torch.cat((torch.linspace(-12, 12, 2001), torch.tensor([1e2, 1e4, 1e6]), -torch.tensor([1e2, 1e4, 1e6])))
    x = x.double().requires_grad_()
    z, log_slope = mixture.forward(x, parameters_for(mixture, 1, scale=scale).expand(len(x), -1))
    (slope,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(log_slope, slope.log(), rtol=0, atol=1e-8)
    assert (z[:2001].diff() > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 3.0, 1e3])
def test_far_out_it_tends_to_the_identity_and_increases_strictly(dtype: torch.dtype, scale: float) -> None:
    mixture = Mixture()
    far = torch.logspace(2.5, 6, 200, dtype=dtype)
    x = torch.cat((-far.flip(0), far)).requires_grad_()
    parameters = parameters_for(mixture, 1, scale=scale).to(dtype).requires_grad_()
    z, log_slope = mixture.forward(x, parameters.expand(len(x), -1))
    assert (z.diff() > 0).all()
    assert (z - x).abs().max() < 0.2
    assert log_slope.abs().max() < 2e-3
    (z.sum() / 1e6 + log_slope.sum()).backward()
    assert x.grad is not None
    assert parameters.grad is not None
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(parameters.grad).all()


@pytest.mark.parametrize(("scale", "atol"), [(0.0, 1e-13), (1.0, 1e-12), (4.0, 1e-6)])
def test_its_inverse_is_exact_in_the_middle_and_far_out(scale: float, atol: float) -> None:
    mixture = Mixture()
    parameters = parameters_for(mixture, 400, scale=scale)
    x = torch.cat((torch.linspace(-9, 9, 396), torch.tensor([1e3, -1e3, 1e6, -1e6]))).double()
    z, _ = mixture.forward(x, parameters)
    torch.testing.assert_close(mixture.inverse(z, parameters), x, rtol=1e-12, atol=atol)
    back = mixture.inverse(x, parameters)
    torch.testing.assert_close(mixture.forward(back, parameters)[0], x, rtol=1e-9, atol=1e-9)


def test_an_inverse_does_not_depend_on_what_stands_beside_it() -> None:
    mixture = Mixture()
    parameters = parameters_for(mixture, 200, scale=2.0)
    z = torch.linspace(-4, 4, 200, dtype=torch.float64)
    together = mixture.inverse(z, parameters)
    for row in (0, 77, 199):
        alone = mixture.inverse(z[row : row + 1], parameters[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-14)


def test_the_inverse_has_the_derivatives_of_the_implicit_function() -> None:
    mixture = Mixture(3)
    parameters = parameters_for(mixture, 4).requires_grad_()
    y = torch.linspace(-2, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mixture.inverse, (y, parameters))
    assert torch.autograd.gradcheck(mixture.forward, (y, parameters))


def test_scales_weights_and_locations_stay_within_their_bounds() -> None:
    mixture = Mixture(4)
    log_weight, location, log_scale = mixture.weights_and_shapes(parameters_for(mixture, 500, scale=1e3))
    assert log_weight.exp().min() >= mixture.least * 0.999
    torch.testing.assert_close(log_weight.exp().sum(-1), torch.ones(500, dtype=torch.float64))
    assert location.abs().max() <= mixture.bound
    assert (location[:, 0] == 0).all()
    assert (log_scale[:, 0] == 0).all()
    assert log_scale[:, 1:].exp().min() >= mixture.narrowest * 0.999
    assert log_scale[:, 1:].exp().max() <= mixture.widest * 1.001


def test_two_separate_modes_are_within_reach_of_one_layer() -> None:
    """0.7 N(-2, 0.1) + 0.3 N(3, 0.4), which an affine map before a normal cannot have."""
    mixture = Mixture(3)
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(4000, generator=generator) < 0.7
    noise = torch.randn(4000, generator=generator)
    x = torch.where(first, -2 + 0.1 * noise, 3 + 0.4 * noise).double()
    parameters = torch.zeros(mixture.size, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([parameters], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        z, log_slope = mixture.forward(x, parameters.expand(len(x), -1))
        loss = (0.5 * z * z - log_slope).mean() + 0.5 * np.log(2 * np.pi)
        loss.backward()
        optimizer.step()
    truth = 0.7 * stats.norm.pdf(x, -2, 0.1) + 0.3 * stats.norm.pdf(x, 3, 0.4)
    assert loss.item() < -np.log(truth).mean() + 0.02


@pytest.mark.parametrize("components", [1, 0, 6000])
def test_components_that_do_not_fit_are_refused(components: int) -> None:
    with pytest.raises(ValueError, match="a mixture needs 2 to 5000 components"):
        Mixture(components)
