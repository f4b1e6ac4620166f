"""Ensembles over column orders; what holds for every density is in test_laws.py."""

from __future__ import annotations

import math

import pytest
import torch

from flowguard.density import Ensemble, Flow, maf, maf_ensemble
from tests.density.catalogue import ENSEMBLES, Member
from tests.density.test_laws import some_missing

each_ensemble = pytest.mark.parametrize("member", ENSEMBLES, ids=lambda m: m.name)


@each_ensemble
@pytest.mark.parametrize("scale", [0.15, 1.0, 10.0])
def test_averaged_terms_and_the_ensembles_own_sum_to_the_log_density(member: Member, scale: float) -> None:
    density = member.trained(scale=scale)
    x, context = member.inputs(200)
    for observed in (None, some_missing(200, member.features)):
        terms, ensemble = density.terms_and_ensemble(x, context, observed=observed)
        log_prob = density.log_prob(x, context, observed=observed)
        torch.testing.assert_close(terms.sum(-1) + ensemble, log_prob, rtol=1e-12, atol=1e-9)
        assert ensemble.max() <= 0
        assert ensemble.min() >= -math.log(3) - 1e-12
        if observed is not None:
            assert (terms[~observed] == 0).all()


@each_ensemble
def test_the_log_density_is_the_log_of_the_mean_density_of_its_members(member: Member) -> None:
    density = member.trained()
    x, context = member.inputs(50)
    each = torch.stack([flow.log_prob(x, context) for flow in density.members])
    torch.testing.assert_close(density.log_prob(x, context), each.exp().mean(0).log(), rtol=1e-10, atol=1e-10)
    shares = density.responsibilities(x, context)
    torch.testing.assert_close(shares, (each.exp() / each.exp().sum(0)).T)
    terms, _ = density.terms_and_ensemble(x, context)
    expected = sum(s[:, None] * f.terms(x, context) for s, f in zip(shares.T, density.members, strict=True))
    torch.testing.assert_close(terms, expected)


def test_terms_and_ensemble_have_together_the_gradient_of_the_log_density() -> None:
    member = ENSEMBLES[-1]
    density = member.trained()
    x, context = member.inputs(30)
    terms, ensemble = density.terms_and_ensemble(x, context)
    parameters = list(density.parameters())
    found = torch.autograd.grad((terms.sum(-1) + ensemble).sum(), parameters)
    expected = torch.autograd.grad(density.log_prob(x, context).sum(), parameters)
    torch.testing.assert_close(found, expected)


def test_the_first_order_is_the_given_one_and_the_others_come_from_the_seed() -> None:
    # Part of a stored model: a seed gives these orders for ever.
    assert maf_ensemble(4, orders=3, layers=1, seed=3).orders == [(0, 1, 2, 3), (0, 2, 1, 3), (2, 1, 0, 3)]
    first, alone = maf_ensemble(4, orders=2, seed=5).members[0].state_dict(), maf(4, seed=5).state_dict()
    assert all(torch.equal(first[key], alone[key]) for key in alone)


def test_orders_differ_as_long_as_there_are_others() -> None:
    assert len(set(maf_ensemble(3, orders=6, layers=1).orders)) == 6
    assert maf_ensemble(2, orders=3, layers=1).orders[:2] == [(0, 1), (1, 0)]
    assert maf_ensemble(1, orders=3, layers=1).orders == [(0,)] * 3


def test_members_of_one_order_differ_in_their_weights() -> None:
    first, second = maf_ensemble(1, context=2, orders=2, layers=1).members
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_a_latent_code_belongs_to_a_member_and_inverts_in_it() -> None:
    member = ENSEMBLES[-1]
    density = member.trained()
    x, context = member.inputs(30)
    one = torch.arange(30) % 3
    for chosen in (0, 2, one):
        z = density.latent(x, context, member=chosen)
        torch.testing.assert_close(density.inverse(z, context, member=chosen), x, rtol=1e-8, atol=1e-8)
    z = density.latent(x, context, member=one)
    assert torch.equal(z[1::3], density.members[1].latent(x, context)[1::3])


def test_samples_come_from_every_member() -> None:
    """Members that are narrow and far apart: each gives its share of the draws."""
    density = maf_ensemble(2, orders=2, layers=1, transformer="affine")
    with torch.no_grad():
        for flow, location in zip(density.members, (-50.0, 50.0), strict=True):
            for name, parameter in flow.named_parameters():
                if name.endswith("output.bias"):
                    parameter[0::2] = location
    draws = density.sample(2000, generator=torch.Generator().manual_seed(1))
    left = (draws < 0).all(-1).double().mean().item()
    assert abs(left - 0.5) < 0.06
    assert ((draws.abs() - 50).abs() < 8).all()
    assert torch.equal(draws, density.sample(2000, generator=torch.Generator().manual_seed(1)))


def test_a_quantile_is_that_of_the_order_in_which_the_column_comes_last() -> None:
    member = ENSEMBLES[-1]
    density = member.trained()
    x, context = member.inputs(30)
    assert density.orders == [(0, 1, 2), (0, 2, 1), (2, 0, 1)]
    assert [density.latest(column) for column in range(3)] == [2, 1, 0]
    for column in range(3):
        flow = density.members[density.latest(column)]
        expected = flow.column_quantile(x, column, 0.9, context)
        assert torch.equal(density.column_quantile(x, column, 0.9, context), expected)
        together = density.column_quantiles(x, 0.9, context)[:, column]
        torch.testing.assert_close(together, expected, rtol=1e-9, atol=1e-9)


def test_members_must_fit_each_other_and_keep_an_order() -> None:
    with pytest.raises(ValueError, match="members must share"):
        Ensemble([maf(2), maf(3)])
    with pytest.raises(ValueError, match="members must share"):
        Ensemble([])
    with pytest.raises(TypeError, match="no single column order"):
        Ensemble([maf(2, order="alternate")])
    with pytest.raises(ValueError, match="at least one order"):
        maf_ensemble(2, orders=0)


def test_several_orders_are_closer_to_a_ring_than_the_worse_of_them() -> None:
    """Any mixture of trained members is at least as good as their mean log-density, by Jensen's inequality."""
    density = maf_ensemble(2, orders=2, layers=1)
    generator = torch.Generator().manual_seed(1)
    angle = 2 * math.pi * torch.rand(1000, generator=generator)
    x = torch.stack((angle.cos(), angle.sin()), 1) + 0.1 * torch.randn(1000, 2, generator=generator)
    optimizer = torch.optim.Adam(density.parameters(), lr=8e-3)
    for _ in range(40):
        optimizer.zero_grad()
        (-density(x).mean()).backward()
        optimizer.step()
    flows = [flow for flow in density.members if isinstance(flow, Flow)]
    assert density(x).mean() > max(flow(x).mean() for flow in flows) - math.log(2)
    assert density(x).mean() > sum(flow(x).mean() for flow in flows) / 2 + 1e-3
