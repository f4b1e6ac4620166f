"""Several densities mixed are one: its total, its terms by column, its weights and its measure."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from flowguard.density import Column, Experts, Inputs, RecordDensity, fit_blurred, fit_kernel

CATEGORY = Column("category", (0, 0, 35, 25), novel=0.02)
NUMBER = Column("number", (45, 5, 10))
INTEGER = Column("integer", (60, 0, 0), spacing=0.4, origin=0.1)
MIXED = [CATEGORY, NUMBER, INTEGER, Column("number", (60, 0))]
STRETCH = 2.0
"""The front of a number is its straight scale, stretched."""


def inputs(codes: np.ndarray, numbers: np.ndarray, whole: np.ndarray) -> Inputs:
    """Records by codes, and the straight values of numbers and integers."""
    line = torch.from_numpy(np.concatenate([numbers, whole], 1))
    n, m = numbers.shape
    return Inputs(
        x=STRETCH * line[:, :m],
        codes=torch.from_numpy(codes),
        lower=line[:, m:] - 0.2,
        log_width=torch.full((n, whole.shape[1]), math.log(0.4), dtype=torch.float64),
        context=torch.zeros(n, 0, dtype=torch.float64),
        levels=torch.zeros(n, 0, dtype=torch.long),
        line=line,
        log_stretch=torch.full((n, m), -math.log(STRETCH), dtype=torch.float64),
    )


def mixed(n: int = 60, seed: int = 0) -> Inputs:
    rng = np.random.default_rng(seed)
    level, gap = rng.integers(2, 4, n), rng.choice([0, 0, 0, 1, 2], n)
    some, free = np.where(gap == 0, rng.normal(size=n), 0.0), rng.normal(level - 2.5, 0.5)
    codes = np.stack([level, gap, np.zeros(n, int), np.zeros(n, int)], 1)
    return inputs(codes, np.stack([some, free], 1), (0.1 + 0.4 * rng.integers(-4, 5, n))[:, None])


def of(columns: list[Column], records: Inputs, **config: Any) -> RecordDensity:
    """A density whose flow is drawn at random, with experts that are fitted and weights of their own."""
    shape = {"family": "maf", "transformer": "affine", "layers": 1, "hidden": [8]}
    plain = [column.to_dict() for column in columns]
    density = RecordDensity.build({**shape, "columns": plain, "numeric": 0, "cardinalities": [], **config})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in density.parameters():
            weights += 0.2 * torch.randn(weights.shape, generator=generator)
    density = density.double().eval()
    scales = ("line", "front")
    kernels = [fit_kernel(records, columns, scale=scale, seed=0) for scale in scales]  # type: ignore[arg-type]
    experts = Experts(columns, kernels, fit_blurred(records, columns, seed=0)).double()
    experts.log_weight.copy_(torch.tensor([0.4, 0.3, 0.25, 0.05], dtype=torch.float64).log().float())
    density.joined_by(experts)
    return density


@pytest.fixture(scope="module")
def density() -> RecordDensity:
    return of(MIXED, mixed())


def experts_of(density: RecordDensity) -> Experts:
    assert density.experts is not None
    return density.experts


def far(records: Inputs) -> Inputs:
    """The same records with a last number that no expert has seen."""
    line = records.line.clone()  # type: ignore[union-attr]
    line[:, 1] = torch.linspace(-60, 60, len(line), dtype=torch.float64)
    return replace(records, line=line, x=STRETCH * line[:, :2])


# -- the mixture -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_its_likelihood_is_the_weighted_sum_of_what_each_expert_says_by_itself(density: RecordDensity) -> None:
    experts, records = experts_of(density), mixed(40, seed=1)
    alone = [sum(part.sum(-1) for part in experts.marginal(records))]
    kernels = [kernel.log_prob(records) for kernel in experts.every_kernel()]
    density.experts = None
    flow = density(records).log_likelihood
    density.experts = experts
    each = torch.stack([flow, *kernels, *alone], -1).numpy()
    found = density(records)
    expected = logsumexp(each + np.log([0.4, 0.3, 0.25, 0.05]), axis=1)
    assert np.allclose(found.log_likelihood.numpy(), expected, atol=1e-6), "weights are stored in float32"
    expected = logsumexp(each + experts.log_weight.numpy(), axis=1)
    assert np.allclose(found.log_likelihood.numpy(), expected, atol=1e-10)
    assert np.allclose((found.experts.log_mass + found.experts.log_density).numpy(), each, atol=1e-10)
    mass = logsumexp(found.experts.log_mass.numpy() + experts.log_weight.numpy(), axis=1)
    assert np.allclose(found.log_mass.numpy(), mass, atol=1e-10)


@pytest.mark.parametrize("orders", [1, 2])
@torch.no_grad()
def test_terms_by_column_and_the_rest_add_up_and_the_rest_is_bounded_by_the_least_weight(orders: int) -> None:
    density = of(MIXED, mixed(), orders=orders)
    least = float(experts_of(density).log_weight.min()) - math.log(orders)
    for records in (mixed(80, seed=2), far(mixed(80, seed=3))):
        found = density(records, by_column=True)
        whole = found.mass_terms.sum(-1) + found.density_terms.sum(-1) + found.ensemble
        assert float((whole - found.log_likelihood).abs().max()) < 1e-9
        assert float(found.ensemble.max()) < 1e-9
        assert float(found.ensemble.min()) > least - 1e-9
        assert found.mixed
        assert (found.density_terms[:, [0, 2]] == 0).all(), "what is discrete has no density"


@torch.no_grad()
def test_totals_are_the_same_whether_or_not_terms_by_column_were_asked_for(density: RecordDensity) -> None:
    records = far(mixed(40, seed=4))
    quick, whole = density(records, by_column=False), density(records, by_column=True)
    assert quick.density_terms is None
    assert not quick.mixed
    assert torch.allclose(quick.log_mass, whole.log_mass, atol=1e-9)
    assert torch.allclose(quick.log_density, whole.log_density, rtol=1e-12, atol=1e-9)


@torch.no_grad()
def test_a_flow_without_terms_by_column_is_mixed_all_the_same() -> None:
    density = of(MIXED, mixed(), family="realnvp", layers=2)
    found = density(mixed(20, seed=5), by_column=True)
    assert found.density_terms is None
    assert not found.mixed
    each = (found.experts.log_mass + found.experts.log_density + experts_of(density).log_weight).numpy()
    assert np.allclose(found.log_likelihood.numpy(), logsumexp(each, axis=1), atol=1e-10)


def test_the_scale_of_each_expert_is_named_in_their_order(density: RecordDensity) -> None:
    assert experts_of(density).scales == ["front", "line", "front", "alone"]


# -- weights -----------------------------------------------------------------------------------------------------------


def fresh() -> Experts:
    return of([Column("number", (60, 0))], records_of_one()).experts  # type: ignore[return-value]


def records_of_one() -> Inputs:
    values = np.random.default_rng(0).normal(size=(60, 1))
    return inputs(np.zeros((60, 1), int), values, np.zeros((60, 0)))


def test_weights_are_those_of_the_largest_likelihood() -> None:
    # Every expert is the only one to know of some records, so that all weights are well inside.
    log_each = np.random.default_rng(1).normal([-3.0, -2.7, -3.3, -2.8], 2, size=(400, 4))
    experts = fresh()
    experts.weigh(torch.from_numpy(log_each), rounds=1000)
    found = minimize(lambda free: -logsumexp(log_each + log_softmax(free), axis=1).mean(), np.zeros(4), tol=1e-12)
    assert np.allclose(experts.log_weight.exp().numpy(), np.exp(log_softmax(found.x)), atol=1e-3)
    assert float(experts.log_weight.exp().sum()) == pytest.approx(1, abs=1e-6)
    best = logsumexp(log_each + experts.log_weight.numpy(), axis=1).mean()
    assert best == pytest.approx(-found.fun, abs=1e-6)
    experts.weigh(torch.from_numpy(log_each))
    usual = logsumexp(log_each + experts.log_weight.numpy(), axis=1).mean()
    assert usual == pytest.approx(best, abs=1e-4), "a hundred rounds are as good as a thousand"


def test_an_expert_that_is_never_right_keeps_a_little_weight() -> None:
    log_each = torch.zeros(200, 4, dtype=torch.float64)
    log_each[:, 1:] = -1e4
    experts = fresh()
    experts.weigh(log_each, least=0.05)
    weight = experts.log_weight.exp()
    assert float(weight.sum()) == pytest.approx(1, abs=1e-6)
    assert weight[1:].tolist() == pytest.approx([0.05] * 3, rel=0.15)
    assert float(weight[0]) > 0.8


def test_weights_are_as_they_are_stored() -> None:
    experts = fresh()
    experts.weigh(torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(experts.log_weight, experts.log_weight.float().double())


# -- the measure -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orders", [1, 2])
@torch.no_grad()
def test_its_discrete_part_sums_to_one_and_its_density_integrates_to_one(orders: int) -> None:
    rng = np.random.default_rng(0)
    level, gap = rng.integers(2, 4, 60), rng.choice([0, 0, 0, 1, 2], 60)
    value = np.where(gap == 0, rng.normal(level - 2.5, 0.4), 0.0)
    records = inputs(np.stack([level, gap], 1), value[:, None], np.zeros((60, 0)))
    density = of([CATEGORY, NUMBER], records, orders=orders)
    every = np.array(list(itertools.product(range(4), range(3))))
    at = inputs(every, np.zeros((12, 1)), np.zeros((12, 0)))
    # Weights have float32's digits, so their sum is 1 to these.
    assert float(density(at).log_mass.exp().sum()) == pytest.approx(1, abs=1e-6)
    assert (density(at).log_density[every[:, 1] != 0] == 0).all(), "no value, no density"
    grid = np.linspace(-20, 20, 8001)
    for level in range(4):
        here = inputs(np.tile([level, 0], (len(grid), 1)), grid[:, None], np.zeros((len(grid), 0)))
        found = density(here)
        assert np.ptp(found.log_mass.numpy()) == pytest.approx(0, abs=1e-12)
        area = np.trapezoid(np.exp(found.log_density.numpy()), STRETCH * grid)
        assert area == pytest.approx(1, abs=1e-6)


@torch.no_grad()
def test_whatever_stands_where_there_is_no_value_changes_nothing(density: RecordDensity) -> None:
    records = mixed(40, seed=6)
    gap = records.codes[:, 1] != 0
    x, line = records.x.clone(), records.line.clone()  # type: ignore[union-attr]
    x[gap, 0], line[gap, 0] = 17.0, -3.0
    found, other = (density(each, by_column=True) for each in (records, replace(records, x=x, line=line)))
    assert torch.allclose(found.log_likelihood, other.log_likelihood, atol=1e-10)
    assert (found.density_terms[gap, 1] == 0).all()
    assert (other.density_terms[gap, 1] == 0).all()


# -- storage -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_its_config_builds_it_again_and_the_weights_give_the_same_bits() -> None:
    config = json.loads(json.dumps(of(MIXED, mixed(), orders=2).config))
    assert config["experts"] == [
        {"centres": 60, "scale": "line", "widths": 2},
        {"centres": 60, "scale": "front", "widths": 2},
    ]
    density = of(MIXED, mixed(), orders=2)
    for weights in density.parameters():
        weights.copy_(weights.float().double())
    state = {name: part.float() if part.is_floating_point() else part for name, part in density.state_dict().items()}
    again = RecordDensity.build(config)
    again.load_state_dict(state)
    again = again.double().eval()
    records = far(mixed(40, seed=7))
    for by_column in (False, True):
        found, other = density(records, by_column=by_column), again(records, by_column=by_column)
        assert torch.equal(found.log_mass, other.log_mass)
        assert torch.equal(found.log_density, other.log_density)
        assert torch.equal(found.mass_terms, other.mass_terms)
    assert again.config == density.config


def test_without_experts_nothing_of_them_is_stored() -> None:
    plain = RecordDensity.build({"columns": [NUMBER.to_dict()], "numeric": 0, "cardinalities": []})
    assert plain.experts is None
    assert plain.config["experts"] == []
    assert not [name for name in plain.state_dict() if "experts" in name]
