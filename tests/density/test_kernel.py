"""The kernel density: exact over every kind of column, whatever is missing, and terms by column that add up."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity as Reference

from flowguard.density import Column, Inputs, KernelDensity, fit_kernel
from flowguard.density.bumps import CodeBump, Marks, log_lattice_sum

ROWS = 60


def records(codes: list[list[int]], line: list[list[float]], numbers: int, context: int = 0) -> Inputs:
    """Records whose front is a stretched straight scale: x = 2 * line."""
    values = torch.tensor(line, dtype=torch.float64).reshape(len(codes), -1)
    nothing = torch.zeros(len(codes), values.shape[1] - numbers, dtype=torch.float64)
    return Inputs(
        x=2 * values[:, :numbers],
        codes=torch.tensor(codes),
        lower=nothing,
        log_width=nothing,
        context=torch.zeros(len(codes), context, dtype=torch.float64),
        levels=torch.zeros(len(codes), 0, dtype=torch.long),
        line=values,
        log_stretch=torch.full((len(codes), numbers), -math.log(2.0), dtype=torch.float64),
    )


MIXED = [
    Column("category", (0, 0, 35, 25), novel=0.02),
    Column("number", (45, 5, 10)),
    Column("integer", (60, 0, 0), spacing=0.4, origin=0.1),
    Column("number", (60, 0)),
]


def mixed(n: int = ROWS, seed: int = 0) -> Inputs:
    rng = np.random.default_rng(seed)
    level = rng.integers(2, 4, n)
    gap = rng.choice([0, 0, 0, 1, 2], n)
    whole = 0.1 + 0.4 * rng.integers(-4, 5, n)
    free = rng.normal(level - 2.5, 0.5)
    some = np.where(gap == 0, rng.normal(0, 1, n), 0.0)
    codes = np.stack([level, gap, np.zeros(n, int), np.zeros(n, int)], 1)
    return records(codes.tolist(), np.stack([some, free, whole], 1).tolist(), numbers=2)


def everything_discrete() -> tuple[list[list[int]], list[list[float]]]:
    """Codes and straight values of all that the discrete part can be; of the lattice the points that matter."""
    points = [(0, 0.1 + 0.4 * k) for k in range(-60, 61)] + [(1, 0.0), (2, 0.0)]
    every = itertools.product(range(4), range(3), points, range(2))
    found = [([level, gap, whole, last], [0.0, 0.0, value]) for level, gap, (whole, value), last in every]
    return [codes for codes, _ in found], [line for _, line in found]


@pytest.mark.parametrize("scale", ["line", pytest.param("front", marks=pytest.mark.e2e)])
def test_it_sums_and_integrates_to_one_over_categories_gaps_integers_and_numbers(scale: str) -> None:
    kernel = fit_kernel(mixed(), MIXED, scale=scale, seed=0)  # type: ignore[arg-type]
    at = records(*everything_discrete(), numbers=2)
    with torch.no_grad():
        assert float(kernel(at).log_mass.exp().sum()) == pytest.approx(1.0, abs=1e-6)
        grid = torch.linspace(-12, 12, 481, dtype=torch.float64)
        both = torch.cartesian_prod(grid, grid)
        whole = torch.full((len(both), 1), 0.5, dtype=torch.float64)
        here = records([[2, 0, 0, 0]] * len(both), torch.cat((both, whole), 1).tolist(), numbers=2)
        # The axis of x is twice as long as the straight one that the grid is on.
        cell = (2 * float(grid[1] - grid[0])) ** 2
        assert float(kernel(here).log_density.exp().sum()) * cell == pytest.approx(1.0, abs=1e-4)
        gap = records([[2, 1, 0, 0]] * len(grid), [[0.0, v, 0.5] for v in grid.tolist()], numbers=2)
        assert float(kernel(gap).log_density.exp().sum()) * cell**0.5 == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("scale", ["line", "front"])
def test_terms_by_column_add_up_to_the_totals(scale: str) -> None:
    kernel = fit_kernel(mixed(), MIXED, scale=scale, seed=0)  # type: ignore[arg-type]
    some = mixed(40, seed=1)
    with torch.no_grad():
        total, by_column = kernel(some), kernel(some, by_column=True)
    assert torch.allclose(by_column.mass_terms.sum(-1), total.log_mass, atol=1e-10)
    assert torch.allclose(by_column.density_terms.sum(-1), total.log_density, atol=1e-10)
    assert (by_column.density_terms[:, [0, 2]] == 0).all()
    assert (by_column.density_terms[:, 1][some.codes[:, 1] != 0] == 0).all()


def test_with_one_width_it_is_the_gaussian_kernel_density_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    points, queries = rng.normal(size=(200, 3)), 2 * rng.normal(size=(50, 3))
    kernel = KernelDensity([Column("number", (200, 0))] * 3, centres=200, scale="front", widths=1).double()
    kernel.values.copy_(torch.from_numpy(points))
    kernel.width.fill_(0.37)
    expected = Reference(kernel="gaussian", bandwidth=0.37).fit(points).score_samples(queries)
    found = kernel(Inputs.plain(torch.from_numpy(queries))).log_density
    assert np.allclose(found.numpy(), expected, atol=1e-9)


def test_the_straight_scale_and_the_front_give_densities_of_the_same_coordinates() -> None:
    columns = [Column("number", (ROWS, 0))]
    line = np.random.default_rng(0).normal(size=(ROWS, 1))
    inputs = records([[0]] * ROWS, line.tolist(), numbers=1)
    kernel = fit_kernel(inputs, columns, scale="line", seed=0)
    grid = torch.linspace(-10, 10, 2001, dtype=torch.float64)
    at = records([[0]] * len(grid), [[v] for v in grid.tolist()], numbers=1)
    with torch.no_grad():
        area = torch.trapezoid(kernel(at).log_density.exp(), 2 * grid)
    assert float(area) == pytest.approx(1.0, abs=1e-6)


def test_given_a_context_it_follows_the_context() -> None:
    rng = np.random.default_rng(0)
    given = rng.normal(size=300)
    x = torch.from_numpy(np.stack([given + 0.1 * rng.normal(size=300)], 1))
    context = torch.from_numpy(given[:, None])
    kernel = fit_kernel(Inputs.plain(x, context), [Column("number", (300, 0))], scale="front", seed=0)
    at = torch.tensor([[1.0], [1.0]], dtype=torch.float64)
    fitting, not_fitting = kernel(Inputs.plain(at, torch.tensor([[1.0], [-1.0]], dtype=torch.float64))).log_density
    assert float(fitting) > float(not_fitting) + 3
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        density = kernel(Inputs.plain(grid, torch.full_like(grid, 0.7))).log_density
    assert float(torch.trapezoid(density.exp(), grid[:, 0])) == pytest.approx(1.0, abs=1e-6)


def test_a_centre_that_is_left_out_counts_for_nothing() -> None:
    inputs = mixed()
    kernel = fit_kernel(inputs, MIXED, scale="line", seed=0)
    with torch.no_grad():
        left_out = kernel.log_prob(inputs, leave_out=torch.arange(ROWS))
        rest = [i for i in range(ROWS) if i != 7]
        other = KernelDensity(MIXED, centres=ROWS - 1, scale="line").double()
        state = kernel.state_dict()
        for name in ("values", "codes", "context", "levels"):
            state[name] = state[name][rest]
        other.load_state_dict(state)
        alone = other.log_prob(inputs.take(torch.tensor([7])))
    assert float(left_out[7]) == pytest.approx(float(alone[0]), abs=1e-9)


def test_absurd_values_stay_finite_and_are_worse_the_farther_out_they_are() -> None:
    kernel = fit_kernel(mixed(), MIXED, scale="line", seed=0)
    at = mixed(1)
    far = []
    for value in (0.0, 5.0, 30.0, 300.0, 1e6):
        line = at.line.clone()
        line[:, 1] = value
        with torch.no_grad():
            far.append(float(kernel(replace(at, line=line)).log_density))
    assert np.isfinite(far).all()
    assert (np.diff(far) < 0).all()


@pytest.mark.parametrize("rows", [2, 3])
def test_few_and_equal_records_are_no_obstacle(rows: int) -> None:
    inputs = Inputs.plain(torch.zeros(rows, 2, dtype=torch.float64))
    kernel = fit_kernel(inputs, [Column("number", (rows, 0))] * 2, scale="front", seed=0)
    with torch.no_grad():
        assert np.isfinite(kernel(inputs).log_density.numpy()).all()


def test_a_record_has_the_same_bits_wherever_it_lies() -> None:
    kernel = fit_kernel(mixed(), MIXED, scale="line", seed=0)
    some = mixed(256, seed=3)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, other = kernel(some), kernel(some.take(order))
    assert torch.equal(found.log_mass[order], other.log_mass)
    assert torch.equal(found.log_density[order], other.log_density)


def test_the_same_records_and_seed_give_the_same_state_and_its_config_builds_it_again() -> None:
    first, second = (fit_kernel(mixed(), MIXED, scale="front", seed=5) for _ in range(2))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    again = KernelDensity.from_config(MIXED, first.config)
    again.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in first.state_dict().items()}
    )
    with torch.no_grad():
        assert torch.equal(again.double()(mixed(9)).log_density, first(mixed(9)).log_density)


@pytest.mark.parametrize("spacing", [0.001, 0.1, 1.0, 1.9, 2.1, 7.0, 60.0])
def test_the_sum_over_a_lattice_is_the_sum(spacing: float) -> None:
    k = np.arange(-60_000, 60_001)
    expected = np.log(np.exp(-0.5 * (k * spacing) ** 2).sum())
    found = log_lattice_sum(torch.tensor(spacing, dtype=torch.float64))
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_a_code_beside_any_centre_has_probabilities_that_sum_to_one() -> None:
    shares = [[0.2, 0.3, 0.5], [0.9, 0.1]]
    bump = CodeBump(shares)
    centres = torch.tensor([[0, 1], [2, 1], [1, 1]])
    every = torch.tensor(list(itertools.product(range(3), range(2))))
    alone, by_centre = bump(every, Marks.of(centres, [0, 1], dtype=torch.float64), torch.tensor([0.1, 1.0]).double())
    total = (alone.unsqueeze(-1) + by_centre).exp().sum(1)
    assert torch.allclose(total, torch.ones(2, 3, dtype=torch.float64), atol=1e-12)


def test_what_it_cannot_be_is_said() -> None:
    with pytest.raises(ValueError, match="known: line, front"):
        KernelDensity([Column("number", (3, 0))], centres=3, scale="log")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least two centres"):
        KernelDensity([Column("number", (3, 0))], centres=1)
    kernel = KernelDensity([Column("number", (3, 0))], centres=3, scale="line")
    with pytest.raises(ValueError, match="straight scale"):
        kernel(Inputs.plain(torch.zeros(1, 1)))
