"""The continuous flow: the laws at its own tolerance, its divergence, its solver."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from flowguard.density import Continuous, Inputs, RecordDensity, continuous, step_error
from flowguard.density.continuous_field import Field, trace, velocity
from flowguard.errors import InputError, TrainingError
from flowguard.spec.sections import ModelSection
from tests.density import test_laws as laws
from tests.density.catalogue import Member

TOLERANCE = 1e-4
SMALL = {"hidden": (8, 8), "seed": 3}
MEMBERS = [
    Member(f"continuous-{d}-context{c}", partial(continuous, steps=steps, **SMALL), d, c)
    for d, c, steps in ((1, 2, 10), (2, 0, 10), (5, 2, 16))
]
MEMBERS += [
    Member("continuous-shallow-4-context0", partial(continuous, hidden=(12,), steps=10, seed=3), 4, 0),
    Member("continuous-deep-3-context2", partial(continuous, hidden=(12, 7, 9), steps=10, seed=3), 3, 2),
]
each = pytest.mark.parametrize("member", MEMBERS, ids=lambda m: m.name)
# Laws that hold for it as they stand, and the widths they are about (None: all).
LAWS = {
    laws.test_every_parameter_has_a_finite_gradient: None,
    laws.test_saved_and_loaded_gives_the_same_bits: None,
    laws.test_far_out_values_are_finite_and_ordered_in_float32: None,
    laws.test_wild_parameters_and_far_out_values_stay_finite_in_float32: None,
    laws.test_a_record_does_not_depend_on_its_batch: None,
    laws.test_a_new_flow_is_nearly_the_identity: None,
    laws.test_float32_agrees_with_float64: None,
    laws.test_the_density_of_one_column_integrates_to_one: 1,
    laws.test_the_density_of_two_columns_integrates_to_one_and_gives_the_samples_their_moments: 2,
    laws.test_the_density_of_the_one_observed_column_integrates_to_one: 3,
}
CASES = [(law, m) for law, width in LAWS.items() for m in MEMBERS if width in (None, m.features)]
CASES += [(laws.test_the_context_reaches_every_column, m) for m in MEMBERS if m.context]


def jump(x: torch.Tensor) -> float:
    """The most that x moves."""
    return float(x.detach().abs().max())


@pytest.mark.parametrize(("law", "member"), CASES, ids=lambda v: getattr(v, "__name__", getattr(v, "name", "")))
def test_the_laws_that_need_no_tolerance_of_its_own_hold(law: Any, member: Member) -> None:
    assert list(inspect.signature(law).parameters) == ["member"]
    law(member)


@each
def test_inverse_of_forward_is_the_input(member: Member) -> None:
    flow = member.trained(scale=0.1)
    x, context = member.inputs(50, spread=3.0)
    observed = laws.some_missing(50, member.features)
    with torch.no_grad():
        for mask in (None, observed):
            kept = x if mask is None else x.masked_fill(~mask, 0.0)
            back = flow.inverse(flow.latent(x, context, observed=mask), context, observed=mask)
            assert jump(back - kept) < TOLERANCE
            again = flow.latent(flow.inverse(x, context, observed=mask), context, observed=mask)
            assert jump(again - kept) < TOLERANCE


@each
def test_log_det_is_that_of_the_observed_block_of_the_jacobian(member: Member) -> None:
    flow = member.trained()
    x, context = member.inputs(20)
    x.requires_grad_()
    some = laws.some_missing(20, member.features)
    for observed in (torch.ones_like(some), some):
        z, log_det = flow.bijection(x, context, observed=observed)
        assert (z[~observed] == 0).all()
        jacobian = laws.jacobians(z, x)
        assert (jacobian[~(observed[:, :, None] & observed[:, None, :])] == 0).all()
        whole = jacobian + torch.diag_embed((~observed).double())
        assert jump(log_det - torch.linalg.slogdet(whole).logabsdet) < TOLERANCE


@each
def test_whatever_stands_in_a_missing_cell_changes_nothing(member: Member) -> None:
    flow = member.trained()
    x, context = member.inputs(40)
    observed = laws.some_missing(40, member.features)
    expected = flow.log_prob(x, context, observed=observed)
    for junk in (0.0, -1e6, math.inf, math.nan):
        assert torch.equal(flow.log_prob(x.masked_fill(~observed, junk), context, observed=observed), expected)


def test_a_record_keeps_its_bits_whoever_is_missing_what_beside_it() -> None:
    flow = continuous(7, context=2, seed=3).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        x, context = torch.randn(64, 7, generator=generator), torch.randn(64, 2, generator=generator)
        observed = torch.rand(64, 7, generator=generator) > 0.3
        expected = flow.log_prob(x, context, observed=observed)
        order = torch.randperm(64, generator=generator)
        assert torch.equal(flow.log_prob(x[order], context[order], observed=observed[order]), expected[order])
        others = observed.clone()
        others[1:] = True
        assert flow.log_prob(x, context, observed=others)[0] == expected[0]


@pytest.mark.parametrize("hidden", [(9,), (9, 11), (9, 6, 5)])
def test_the_divergence_is_the_trace_of_the_fields_jacobian(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(4)
    field = Field(4, context=1, hidden=hidden).double().eval()
    x, context = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 1, dtype=torch.float64)
    observed = torch.rand(6, 4) > 0.5
    moment = field.at(0.3, field.conditioned(context))
    x.requires_grad_()
    diagonal = laws.jacobians(velocity(moment, x)[0], x).diagonal(dim1=1, dim2=2)
    slopes = velocity(moment, x)[1]
    torch.testing.assert_close(trace(moment, slopes, None), diagonal.sum(-1))
    torch.testing.assert_close(trace(moment, slopes, observed), (diagonal * observed).sum(-1))


def test_in_training_many_columns_take_hutchinsons_estimate_which_is_right_on_average() -> None:
    flow = Member("", partial(continuous, hidden=(6, 6, 6), steps=2), 10, 0).trained()
    x = torch.randn(1, 10, dtype=torch.float64)
    solver = next(part for part in flow.modules() if isinstance(part, Continuous))
    observed = torch.ones(1, 10, dtype=torch.bool)
    observed[:, 3] = False
    flow.train()
    torch.manual_seed(0)
    n = 4000
    with torch.no_grad():
        draws = solver(x.expand(n, -1), observed=observed.expand(n, -1))[1]
        solver.divergence = "exact"
        exact = solver(x, observed=observed)[1]
    assert draws.std() > 0
    # Only the doubt about the step is not linear in the divergence; it is small beside the spread.
    assert abs(draws.mean() - exact) < 4 * draws.std() / n**0.5 + 0.1 * draws.std()
    flow.eval()
    assert solver(x.expand(5, -1))[1].unique().numel() == 1


def test_few_columns_or_two_layers_are_exact_in_training_too() -> None:
    for features, hidden in ((8, (6, 6, 6)), (40, (6, 6))):
        flow = continuous(features, hidden=hidden, steps=2).train()
        x = torch.randn(5, features, generator=torch.Generator().manual_seed(0))
        assert torch.equal(flow.log_prob(x), flow.log_prob(x))
    flow = continuous(3, divergence="hutchinson").train()
    assert not torch.equal(flow.log_prob(torch.ones(5, 3)), flow.log_prob(torch.ones(5, 3)))


def test_the_adjoint_gives_the_gradients_of_direct_back_propagation() -> None:
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    found = []
    for backward in ("direct", "adjoint"):
        flow = continuous(3, backward=backward, seed=1).train()
        (-flow.log_prob(x).mean()).backward()
        found.append([parameter.grad for parameter in flow.parameters()])
    for direct, adjoint in zip(*found, strict=True):
        torch.testing.assert_close(direct, adjoint)


def test_the_error_against_doubled_steps_is_reported_and_falls_with_the_steps() -> None:
    member = MEMBERS[2]
    x, context = member.inputs(100)
    errors = []
    for steps in (4, 8, 16):
        flow = Member("", partial(continuous, steps=steps, **SMALL), 5, 2).trained()
        error = step_error(flow, x, context)
        assert error.steps == steps
        assert 0 < error.mean < error.largest
        errors.append(error.mean)
        assert flow.bijection.parts[1].steps == steps
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    with pytest.raises(TypeError, match="no continuous flow"):
        step_error(torch.nn.Linear(1, 1), x)
    with pytest.raises(ValueError, match="at least one record"):
        step_error(flow, x[:0], None if context is None else context[:0])


def test_training_is_not_rewarded_for_a_field_too_rough_for_its_steps() -> None:
    # Wild weights, two steps: what they seem to be worth is an artefact, and training must not see it.
    flow = Member("", partial(continuous, hidden=(12, 12), steps=4, seed=3), 2, 0).trained(scale=3.0)
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        told = flow.train().log_prob(x).mean()
        solver = next(part for part in flow.modules() if isinstance(part, Continuous))
        solver.steps = 128
        true = flow.eval().log_prob(x).mean()
    assert told < true


@pytest.mark.e2e
def test_it_learns_a_ring_and_means_what_it_says() -> None:
    flow = continuous(2, hidden=(24, 24), steps=8).train()
    generator = torch.Generator().manual_seed(1)

    def ring(n: int) -> torch.Tensor:
        angle = 2 * math.pi * torch.rand(n, generator=generator)
        radius = 1.5 + 0.15 * torch.randn(n, generator=generator)
        return torch.stack((radius * angle.cos(), radius * angle.sin()), 1)

    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for _ in range(70):
        optimizer.zero_grad()
        (-flow.log_prob(ring(200)).mean()).backward()
        optimizer.step()
    flow.eval()
    x = ring(1000)
    gaussian = torch.distributions.MultivariateNormal(torch.zeros(2), torch.cov(x.T))
    with torch.no_grad():
        assert flow.log_prob(x).mean() > gaussian.log_prob(x).mean() + 0.4
    assert step_error(flow, x).mean < 0.02


def test_more_than_64_columns_and_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError, match="at most 64 columns, this table has 65"):
        continuous(65)
    assert continuous(64).features == 64
    for settings in ({"steps": 0}, {"divergence": "skilling"}, {"backward": "none"}, {"hidden": ()}):
        with pytest.raises(ValueError):
            continuous(2, **settings)
    with pytest.raises(ValueError, match="context has shape"):
        Continuous(2, context=1)(torch.zeros(3, 2))


def test_it_says_so_when_it_gives_up() -> None:
    flow = continuous(2).eval()
    with torch.no_grad():
        flow.bijection.parts[1].field.biases[0].fill_(math.nan)
    with pytest.raises(TrainingError, match="gave up"):
        flow.log_prob(torch.zeros(3, 2))


def test_a_record_density_of_the_family_has_no_terms_and_no_settings_of_layers() -> None:
    config = {"columns": [{"kind": "number", "counts": [40, 8]}] * 2, "numeric": 1, "cardinalities": [4]}
    density = RecordDensity.build(config | {"family": "continuous"})
    assert density.config["steps"] == 16
    inputs = Inputs.plain(torch.zeros(3, 2), torch.zeros(3, 1))
    inputs = replace(inputs, levels=torch.full((3, 1), 2))
    assert density(inputs).density_terms is None
    assert step_error(density, inputs).largest < 1e-4
    with pytest.raises(ValueError, match=r"unknown keys \['transformer'\]"):
        RecordDensity.build(config | {"family": "continuous", "transformer": "spline"})


def test_a_pipeline_file_chooses_it_and_its_steps_alone() -> None:
    assert ModelSection(family="continuous").steps == 16
    for settings, words in (
        ({"family": "continuous", "transformer": "spline"}, "no `transformer`"),
        ({"family": "continuous", "layers": 3}, "no `layers`"),
        ({"family": "maf", "steps": 8}, "`family: continuous`, or no `steps`"),
    ):
        with pytest.raises(ValidationError, match=words):
            ModelSection(**settings)
