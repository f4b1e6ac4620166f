"""The laws on densities, each tested on every member of the catalogue."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from scipy import stats

from tests.density.catalogue import DENSITIES, MEMBERS, TRIANGULAR, Member, of_width

each = pytest.mark.parametrize("member", DENSITIES, ids=lambda m: m.name)
each_flow = pytest.mark.parametrize("member", MEMBERS, ids=lambda m: m.name)
each_triangular = pytest.mark.parametrize("member", TRIANGULAR, ids=lambda m: m.name)


def some_missing(n: int, features: int) -> torch.Tensor:
    """Masks of all kinds, full and empty ones among them."""
    observed = torch.rand(n, features, generator=torch.Generator().manual_seed(5)) > 0.4
    observed[0], observed[1] = True, False
    return observed


def jacobians(z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """dz/dx of each record `(batch, features, features)`: records do not touch, so one pass per column of z."""
    rows = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0] for column in z.unbind(-1)]
    return torch.stack(rows, 1)


def grid(low: float, high: float, points: int) -> tuple[torch.Tensor, float]:
    """Midpoints of equal cells, and the cell's length."""
    step = (high - low) / points
    return low + step * (torch.arange(points, dtype=torch.float64) + 0.5), step


def far_out(features: int) -> torch.Tensor:
    """Records with one value far out and 0 elsewhere, `(features, 2 signs, 4 distances, features)`."""
    values = torch.tensor([10.0, 1e3, 1e6, 2e6])
    signed = torch.stack((values, -values))
    return signed[None, :, :, None] * torch.eye(features)[:, None, None, :]


def ones(x: torch.Tensor, context: int) -> torch.Tensor | None:
    """A context of ones for each record of `far_out`."""
    return torch.ones(x.shape[:3].numel(), context) if context else None


def repeated(context: torch.Tensor | None, n: int) -> torch.Tensor | None:
    """The first row of the context for each of n records."""
    return None if context is None else context[:1].expand(n, -1)


@each_flow
def test_inverse_of_forward_is_the_input(member: Member) -> None:
    flow = member.trained(scale=0.1)
    x, context = member.inputs(50, spread=3.0)
    with torch.no_grad():
        z, _ = flow.bijection(x, context)
        # Where a spline is nearly flat, the rounding of z alone moves x by much more than 1e-16.
        torch.testing.assert_close(flow.inverse(z, context), x, rtol=1e-8, atol=1e-8)
        assert (flow.inverse(z, context) - x).abs().median() < 1e-13
        back, _ = flow.bijection(flow.inverse(x, context), context)
        torch.testing.assert_close(back, x, rtol=1e-8, atol=1e-8)


@each_flow
def test_log_det_is_that_of_the_jacobian(member: Member) -> None:
    flow = member.trained()
    x, context = member.inputs(20)
    x.requires_grad_()
    z, log_det = flow.bijection(x, context)
    expected = torch.linalg.slogdet(jacobians(z, x)).logabsdet
    torch.testing.assert_close(log_det, expected, rtol=0, atol=1e-8)


@each_flow
def test_log_det_with_missing_values_is_that_of_the_observed_block(member: Member) -> None:
    flow = member.trained()
    x, context = member.inputs(20)
    x.requires_grad_()
    observed = some_missing(20, member.features)
    z, log_det = flow.bijection(x, context, observed=observed)
    assert (z[~observed] == 0).all()
    both = observed[:, :, None] & observed[:, None, :]
    jacobian = jacobians(z, x)
    assert (jacobian[~both] == 0).all()
    # With 1 on the diagonal of what is missing, the determinant is that of the observed block.
    whole = jacobian + torch.diag_embed((~observed).double())
    torch.testing.assert_close(log_det, torch.linalg.slogdet(whole).logabsdet, rtol=0, atol=1e-8)


@each
def test_whatever_stands_in_a_missing_cell_changes_nothing(member: Member) -> None:
    flow = member.trained()
    x, context = member.inputs(40)
    observed = some_missing(40, member.features)
    expected = flow.log_prob(x, context, observed=observed)
    for junk in (0.0, -1e6, math.inf, math.nan):
        found = flow.log_prob(x.masked_fill(~observed, junk), context, observed=observed)
        assert torch.equal(found, expected)
    z = flow.latent(x, context, observed=observed)
    back = flow.inverse(z.masked_fill(~observed, 7.0), context, observed=observed)
    torch.testing.assert_close(back, x.masked_fill(~observed, 0.0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("member", of_width(1), ids=lambda m: m.name)
def test_the_density_of_one_column_integrates_to_one(member: Member) -> None:
    flow = member.trained(scale=0.3)
    _, context = member.inputs(1)
    points, step = grid(-60, 60, 40_000)
    with torch.no_grad():
        total = flow.log_prob(points[:, None], repeated(context, len(points))).exp().sum() * step
    assert abs(total - 1) < 1e-3


@pytest.mark.parametrize("member", of_width(2), ids=lambda m: m.name)
def test_the_density_of_two_columns_integrates_to_one_and_gives_the_samples_their_moments(
    member: Member,
) -> None:
    flow = member.trained(scale=0.07)
    _, context = member.inputs(1)
    points, step = grid(-12, 12, 260)
    plane = torch.cartesian_prod(points, points)
    with torch.no_grad():
        mass = flow.log_prob(plane, repeated(context, len(plane))).exp() * step**2
    assert abs(mass.sum() - 1) < 1e-3
    mean = mass @ plane
    covariance = (plane - mean).T @ ((plane - mean) * mass[:, None])
    n = 10_000
    draws = flow.sample(n, repeated(context, n), generator=torch.Generator().manual_seed(12))
    assert ((draws.mean(0) - mean).abs() < 5 * (covariance.diagonal() / n).sqrt()).all()
    spread = covariance.diagonal().sqrt()
    assert ((torch.cov(draws.T) - covariance).abs() / torch.outer(spread, spread) < 0.1).all()


@pytest.mark.parametrize("member", of_width(2, 3), ids=lambda m: m.name)
def test_the_density_of_the_one_observed_column_integrates_to_one(member: Member) -> None:
    flow = member.trained(scale=0.25)
    _, context = member.inputs(1)
    points, step = grid(-60, 60, 6_000)
    for column in range(member.features):
        x = torch.full((len(points), member.features), 3.0, dtype=torch.float64)
        x[:, column] = points
        observed = torch.zeros_like(x, dtype=torch.bool)
        observed[:, column] = True
        with torch.no_grad():
            total = flow.log_prob(x, repeated(context, len(points)), observed=observed).exp().sum() * step
        assert abs(total - 1) < 1e-3


@each
def test_every_parameter_has_a_finite_gradient(member: Member) -> None:
    flow = member.trained()
    x, context = member.inputs(64, spread=5.0)
    flow.log_prob(x, context).mean().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@each
def test_saved_and_loaded_gives_the_same_bits(member: Member) -> None:
    flow = member.trained().float()
    other = member.new().eval()
    other.load_state_dict(load(save(flow.state_dict())))
    x, context = (None if t is None else t.float() for t in member.inputs(30))
    with torch.no_grad():
        assert torch.equal(flow.log_prob(x, context), other.log_prob(x, context))
        assert torch.equal(flow.inverse(x, context), other.inverse(x, context))


@each
def test_far_out_values_are_finite_and_ordered_in_float32(member: Member) -> None:
    for seed in range(3):
        flow = member.trained(seed=seed).float()
        x = far_out(member.features)
        log_prob = flow.log_prob(x.flatten(0, 2), ones(x, member.context)).unflatten(0, x.shape[:3])
        assert torch.isfinite(log_prob).all()
        assert (log_prob.diff(dim=-1) < 0).all()


@each
def test_wild_parameters_and_far_out_values_stay_finite_in_float32(member: Member) -> None:
    for seed, scale in ((1, 10.0), (2, 1000.0), (3, 1000.0)):
        flow = member.trained(scale=scale, seed=seed).float()
        x = far_out(member.features).flatten(0, 2)
        x = torch.cat((x, x.sum(-1, keepdim=True).expand_as(x)))
        context = 5 * torch.ones(len(x), member.context) if member.context else None
        log_prob = flow.log_prob(x, context)
        assert torch.isfinite(log_prob).all()
        log_prob.mean().backward()
        assert all(torch.isfinite(p.grad).all() for p in flow.parameters() if p.grad is not None)
        assert torch.isfinite(flow.inverse(x.clamp(-5, 5), context)).all()


@each_triangular
def test_whatever_was_learned_a_column_far_out_is_less_likely_given_the_columns_before(
    member: Member,
) -> None:
    for seed, scale in product(range(3), (1.0, 10.0, 1000.0)):
        flow = member.trained(scale=scale, seed=seed).float()
        x = far_out(member.features)
        terms = flow.terms(x.flatten(0, 2), ones(x, member.context)).unflatten(0, x.shape[:3])
        for column in range(member.features):
            assert (terms[column, ..., column].diff(dim=-1) < 0).all()


@each_triangular
def test_terms_sum_to_log_prob(member: Member) -> None:
    flow = member.trained()
    x, context = member.inputs(40)
    for observed in (None, some_missing(40, member.features)):
        terms = flow.terms(x, context, observed=observed)
        torch.testing.assert_close(terms.sum(-1), flow.log_prob(x, context, observed=observed), rtol=1e-12, atol=1e-12)
        if observed is not None:
            assert (terms[~observed] == 0).all()


@each_triangular
def test_a_term_does_not_depend_on_later_columns(member: Member) -> None:
    flow = member.trained()
    assert flow.bijection.order is not None
    x, context = member.inputs(1)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow.terms(v, context)[0], x)[:, 0]
    in_order = jacobian[list(flow.bijection.order)][:, list(flow.bijection.order)]
    assert (in_order.triu(1) == 0).all()
    if member.features > 1:
        assert (in_order.tril(-1).abs().sum(-1)[1:] > 0).all()


@pytest.mark.parametrize("member", [m for m in TRIANGULAR if m.context], ids=lambda m: m.name)
def test_the_context_reaches_the_first_column(member: Member) -> None:
    flow = member.trained()
    x, context = member.inputs(20)
    assert flow.bijection.order is not None
    assert context is not None
    first = flow.bijection.order[0]
    moved = flow.terms(x, context)[:, first] - flow.terms(x, context + 1)[:, first]
    assert (moved.abs() > 1e-4).all()


@pytest.mark.parametrize("member", [m for m in DENSITIES if m.context], ids=lambda m: m.name)
def test_the_context_reaches_every_column(member: Member) -> None:
    flow = member.trained()
    x, context = member.inputs(1)
    jacobian = torch.autograd.functional.jacobian(lambda c: flow.latent(x, c)[0], context)[:, 0]
    assert (jacobian.abs().sum(-1) > 0).all()


@each
def test_a_record_does_not_depend_on_its_batch(member: Member) -> None:
    flow = member.trained(scale=0.07)
    x, context = member.inputs(64, spread=1.0)
    expected = flow.log_prob(x, context)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(4))
    shuffled = flow.log_prob(x[order], None if context is None else context[order])
    torch.testing.assert_close(shuffled, expected[order], rtol=0, atol=1e-12)
    for rows in (slice(0, 1), slice(10, 17)):
        alone = flow.log_prob(x[rows], None if context is None else context[rows])
        torch.testing.assert_close(alone, expected[rows], rtol=0, atol=1e-12)
    assert flow.log_prob(x[:0], None if context is None else context[:0]).shape == (0,)


@each
def test_a_new_flow_is_nearly_the_identity(member: Member) -> None:
    flow = member.new()
    x, context = (None if t is None else t.float() for t in member.inputs(50, spread=1.0))
    assert (flow.latent(x, context) - x).abs().max() < 0.5
    assert torch.isfinite(flow.log_prob(x, context)).all()


@each_triangular
def test_column_quantiles_agree_with_the_integrated_density(member: Member) -> None:
    flow = member.trained(scale=0.1)
    assert flow.bijection.order is not None
    x, context = member.inputs(1)
    points, step = grid(-60, 60, 15_000)
    column = flow.bijection.order[-1]
    line = x.repeat(len(points), 1)
    line[:, column] = points
    with torch.no_grad():
        cdf = flow.terms(line, repeated(context, len(points)))[:, column].exp().cumsum(0) * step
        for q in (0.05, 0.5, 0.95):
            value = flow.column_quantile(x, column, q, context)
            found = np.interp(value.item(), (points + step / 2).numpy(), cdf.numpy())
            assert abs(found - q) < 1e-3


@each_triangular
def test_the_quantiles_of_all_columns_together_are_those_of_each(member: Member) -> None:
    flow = member.trained(scale=0.1)
    x, context = member.inputs(40)
    observed = torch.arange(40 * member.features).view(40, -1) % 5 != 3
    with torch.no_grad():
        together = flow.column_quantiles(x, 0.8, context, observed=observed)
        for column in range(member.features):
            alone = flow.column_quantile(x, column, 0.8, context, observed=observed)
            torch.testing.assert_close(together[:, column], alone, equal_nan=True, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("member", of_width(1), ids=lambda m: m.name)
def test_samples_follow_the_density(member: Member) -> None:
    flow = member.trained(scale=0.3)
    _, context = member.inputs(1)
    draws = flow.sample(2000, repeated(context, 2000), generator=torch.Generator().manual_seed(11))
    points, step = grid(-60, 60, 40_000)
    with torch.no_grad():
        cdf = flow.log_prob(points[:, None], repeated(context, len(points))).exp().cumsum(0) * step
    test = stats.kstest(draws[:, 0].numpy(), lambda v: np.interp(v, points.numpy() + step / 2, cdf.numpy()))
    assert test.pvalue > 1e-3


@each
def test_float32_agrees_with_float64(member: Member) -> None:
    flow = member.trained()
    x, context = member.inputs(100)
    with torch.no_grad():
        exact = flow.log_prob(x, context)
        single = flow.float().log_prob(x.float(), None if context is None else context.float())
    torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-3)
