"""Flows: checks of their inputs, quantiles, and a fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from flowguard.density import maf, realnvp


def ring(n: int, *, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    radius = 1.5 + 0.15 * torch.randn(n, generator=generator)
    return torch.stack((radius * angle.cos(), radius * angle.sin()), 1)


@pytest.mark.parametrize("family", ["maf", "realnvp"])
def test_a_flow_fits_a_ring_far_better_than_a_gaussian(family: str) -> None:
    flow = maf(2, layers=2) if family == "maf" else realnvp(2, transformer="spline", layers=4)
    x, held_out = ring(4000, seed=1), ring(2000, seed=2)
    optimizer = torch.optim.Adam(flow.parameters(), lr=8e-3)
    generator = torch.Generator().manual_seed(3)
    for _ in range(80):
        rows = torch.randint(len(x), (256,), generator=generator)
        optimizer.zero_grad()
        (-flow.log_prob(x[rows]).mean()).backward()
        optimizer.step()
    gaussian = stats.multivariate_normal(x.mean(0).numpy(), np.cov(x.T.numpy()))
    with torch.no_grad():
        assert flow.log_prob(held_out).mean().item() > gaussian.logpdf(held_out.numpy()).mean() + 0.5


def test_shapes_and_masks_that_do_not_fit_are_refused() -> None:
    flow = maf(2, context=1)
    with pytest.raises(ValueError, match=r"x has shape \(3, 5\); expected \(batch, 2\)"):
        flow.log_prob(torch.zeros(3, 5), torch.zeros(3, 1))
    with pytest.raises(ValueError, match="context has shape"):
        flow.log_prob(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"observed is torch\.float32"):
        flow.log_prob(torch.zeros(3, 2), torch.zeros(3, 1), observed=torch.ones(3, 2))


def test_a_quantile_follows_each_records_own_level_and_is_nan_where_missing() -> None:
    flow = maf(2)
    x, observed = torch.zeros(3, 2), torch.tensor([[True, True], [True, True], [True, False]])
    value = flow.column_quantile(x, 1, torch.tensor([0.1, 0.9, 0.5]), observed=observed).tolist()
    assert value[0] < value[1]
    assert math.isnan(value[2])
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        flow.column_quantile(x, 0, 1.0)
    with pytest.raises(TypeError, match="no single column order"):
        realnvp(2).column_quantile(x, 0, 0.5)


def test_calling_a_flow_gives_its_log_density() -> None:
    flow = maf(2)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(flow(x), flow.log_prob(x))
    assert flow.features == 2
    assert flow.context_features == 0


def test_samples_depend_on_their_generator_alone() -> None:
    flow = maf(2)
    first, again = (flow.sample(5, generator=torch.Generator().manual_seed(9)) for _ in range(2))
    assert torch.equal(first, again)
    observed = torch.tensor([[True, False]]).expand(5, -1)
    assert (flow.sample(5, observed=observed)[:, 1] == 0).all()
