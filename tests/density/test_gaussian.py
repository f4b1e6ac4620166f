"""The linear Gaussian; what holds for every density is in test_laws.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LinearRegression

from flowguard.density import ContextEmbedding, Flow, LinearGaussian, gaussian


def correlated(n: int, *, seed: int) -> torch.Tensor:
    """Five columns of a covariance with strong correlations, standardised as an encoder would."""
    generator = np.random.default_rng(seed)
    factor = np.random.default_rng(0).normal(size=(5, 5)) * np.array([2.0, 1.0, 0.5, 0.3, 0.2])
    x = generator.normal(size=(n, 5)) @ factor.T
    return torch.as_tensor((x - x.mean(0)) / x.std(0))


def fit(flow: Flow, x: torch.Tensor, context: torch.Tensor | None = None, *, steps: int = 400) -> None:
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (-flow.log_prob(x, context).mean()).backward()
        optimizer.step()
        schedule.step()


def test_trained_it_has_the_likelihood_of_the_sample_covariance() -> None:
    x, held_out = correlated(3000, seed=1), correlated(1000, seed=2)
    flow = gaussian(5).double()
    fit(flow, x)
    best = stats.multivariate_normal(x.mean(0).numpy(), np.cov(x.T.numpy(), bias=True))
    with torch.no_grad():
        assert flow.log_prob(x).mean().item() == pytest.approx(best.logpdf(x.numpy()).mean(), abs=1e-2)
        assert flow.log_prob(held_out).mean().item() == pytest.approx(best.logpdf(held_out.numpy()).mean(), abs=2e-2)


def test_trained_given_a_context_it_has_the_likelihood_of_the_linear_regressions() -> None:
    generator = torch.Generator().manual_seed(1)
    context = torch.randn(3000, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(3000, 2, generator=generator, dtype=torch.float64)
    first = 0.8 * context[:, 0] - 0.3 * context[:, 2] + 0.4 * noise[:, 0]
    second = 0.5 * first + 0.6 * context[:, 1] + 0.2 * noise[:, 1]
    x = torch.stack((first, second), 1)
    flow = gaussian(2, context=3).double()
    fit(flow, x, context)
    expected = 0.0
    inputs = context.numpy()
    for column in x.T.numpy():
        residual = column - LinearRegression().fit(inputs, column).predict(inputs)
        expected += stats.norm.logpdf(residual, scale=residual.std()).mean()
        inputs = np.column_stack([inputs, column])
    with torch.no_grad():
        assert flow.log_prob(x, context).mean().item() == pytest.approx(expected, abs=1e-2)


def test_it_is_the_gaussian_that_its_coefficients_say() -> None:
    layer = LinearGaussian(3, context=1).double()
    assert layer.on_columns is not None
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        x = torch.randn(50, 3, generator=generator, dtype=torch.float64)
        context = torch.full((50, 1), 0.7, dtype=torch.float64)
        unit = torch.eye(3) - layer.on_columns.weight.tril(-1)
        root = torch.linalg.inv(unit) @ torch.diag((-layer._log_scale()).exp())
        mean = torch.linalg.inv(unit) @ layer._center(x, context)[0]
        expected = stats.multivariate_normal(mean.numpy(), (root @ root.T).numpy()).logpdf(x.numpy())
        found = Flow(layer).log_prob(x, context)
    torch.testing.assert_close(found, torch.as_tensor(expected), rtol=1e-9, atol=1e-9)


def test_duplicate_and_constant_columns_stay_finite() -> None:
    x = correlated(500, seed=3)
    x = torch.cat((x, x[:, :1], torch.zeros(500, 1, dtype=torch.float64)), 1)
    flow = gaussian(7).double()
    fit(flow, x, steps=100)
    log_prob = flow.log_prob(x)
    assert torch.isfinite(log_prob).all()
    assert all(torch.isfinite(parameter).all() for parameter in flow.parameters())


def test_two_thousand_columns_work() -> None:
    flow = gaussian(2000)
    x = torch.randn(4, 2000, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(flow.log_prob(x)).all()
    torch.testing.assert_close(flow.inverse(flow.latent(x)), x, rtol=1e-3, atol=1e-3)


def test_a_linear_embedding_is_additive_in_numbers_and_levels() -> None:
    embed = ContextEmbedding(2, [4], linear=True, width=6).eval()
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(1, 2, generator=generator), torch.randn(1, 2, generator=generator)
    zero, code = torch.zeros(1, 2), torch.tensor([[3]])
    torch.testing.assert_close(embed(a + b, code) - embed(b, code), embed(a, code) - embed(zero, code))
    assert not any(name.startswith("block") for name, _ in embed.named_parameters())


def test_no_columns_and_contexts_of_the_wrong_width_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one column"):
        gaussian(0)
    with pytest.raises(ValueError, match=r"context has shape \(3, 0\); expected \(3, 2\)"):
        gaussian(2, context=2).log_prob(torch.zeros(3, 2))
