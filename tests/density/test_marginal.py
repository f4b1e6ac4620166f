"""Columns by themselves: a distribution of every kind of column, and steps of the normal law in both tails."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import log_ndtr
from scipy.stats import norm
from torch import Tensor

from flowguard.density import Column, Inputs
from flowguard.density.marginal import Marginal, log_normal_step

CATEGORY = Column("category", (0, 2, 30, 68), novel=0.05)
NUMBER = Column("number", (80, 5, 15))
INTEGER = Column("integer", (90, 10, 0))


def inputs(codes: list[list[int]], x: Tensor, lower: Tensor | None = None, width: float = 0.4) -> Inputs:
    n, nothing = len(codes), torch.zeros(len(codes), 0, dtype=torch.float64)
    edges = nothing if lower is None else lower
    return Inputs(
        x=x,
        codes=torch.tensor(codes),
        lower=edges,
        log_width=torch.full_like(edges, math.log(width)),
        context=nothing,
        levels=torch.zeros(n, 0, dtype=torch.long),
    )


# -- distributions -----------------------------------------------------------------------------------------------------


def test_the_codes_of_a_category_have_their_frequencies_and_sum_to_one() -> None:
    nothing = torch.zeros(4, 0, dtype=torch.float64)
    mass, density = Marginal([CATEGORY])(inputs([[0], [1], [2], [3]], nothing))
    assert mass.exp().squeeze(1).tolist() == pytest.approx(CATEGORY.shares(), abs=1e-15)
    assert float(mass.exp().sum()) == pytest.approx(1, abs=1e-15)
    assert (density == 0).all()


def test_a_number_has_a_probability_of_each_atom_and_a_standard_normal_density_beside_them() -> None:
    marginal = Marginal([NUMBER])
    mass, density = marginal(inputs([[0], [1], [2]], torch.full((3, 1), 0.7, dtype=torch.float64)))
    assert mass.exp().squeeze(1).tolist() == pytest.approx([0.8, 0.05, 0.15], abs=1e-15)
    assert density.squeeze(1).tolist() == pytest.approx([norm.logpdf(0.7), 0.0, 0.0], abs=1e-15)
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    mass, density = marginal(inputs([[0]] * len(grid), grid[:, None]))
    whole = torch.trapezoid((mass + density).exp().squeeze(1), grid)
    assert float(whole) + 0.2 == pytest.approx(1, abs=1e-12)


def test_an_integer_sums_to_one_over_its_lattice_missing_and_what_is_off_it() -> None:
    marginal = Marginal([INTEGER])
    lower = (0.1 + 0.4 * torch.arange(-60, 61, dtype=torch.float64))[:, None]
    nothing = torch.zeros(len(lower), 0, dtype=torch.float64)
    mass, density = marginal(inputs([[0]] * len(lower), nothing, lower))
    other, _ = marginal(inputs([[1], [2]], nothing[:2], lower[:2]))
    assert float(mass.exp().sum() + other.exp().sum()) == pytest.approx(1, abs=1e-12)
    assert other.exp().squeeze(1).tolist() == pytest.approx(INTEGER.shares()[1:], abs=1e-15)
    assert (density == 0).all()


def test_columns_stand_side_by_side_and_what_has_no_value_counts_for_nothing() -> None:
    columns = [INTEGER, NUMBER, CATEGORY]
    lower = torch.tensor([[0.3], [1e6], [math.nan]], dtype=torch.float64)
    x = torch.tensor([[1.5], [math.nan], [1e6]], dtype=torch.float64)
    at = inputs([[0, 0, 2], [1, 1, 3], [2, 2, 0]], x, lower)
    mass, density = Marginal(columns)(at)
    shares = [column.shares() for column in columns]
    step = norm.cdf(0.7) - norm.cdf(0.3)
    by_code = np.array([[shares[column][code] for column, code in enumerate(row)] for row in at.codes.tolist()])
    expected = by_code * [[step, 1, 1], [1, 1, 1], [1, 1, 1]]
    assert np.allclose(mass.exp().numpy(), expected, atol=1e-14)
    assert np.allclose(density.numpy(), [[0, norm.logpdf(1.5), 0], [0, 0, 0], [0, 0, 0]], atol=1e-14)


# -- steps of the normal law -------------------------------------------------------------------------------------------


def of_scipy(lower: float, width: float) -> float:
    """The log of the difference, in the tail where nothing cancels."""
    above, below = (-lower, -lower - width) if lower + width / 2 > 0 else (lower + width, lower)
    return float(log_ndtr(above) + np.log(-np.expm1(log_ndtr(below) - log_ndtr(above))))


@pytest.mark.parametrize("lower", [-40.0, -39.5, -20.0, -5.0, -1.0, -0.5, 0.0, 0.5, 3.0, 20.0, 39.0, 40.0])
@pytest.mark.parametrize("width", [0.002, 0.05, 1.0, 7.0])
def test_a_step_is_the_logarithm_of_the_difference_in_both_tails(lower: float, width: float) -> None:
    at = torch.tensor([lower, math.log(width)], dtype=torch.float64)
    found = float(log_normal_step(at[:1], at[1:]))
    assert found == pytest.approx(of_scipy(lower, width), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("middle", [-40.0, -6.0, -1.0, 0.0, 0.3, 6.0, 40.0])
@pytest.mark.parametrize("width", [1e-300, 1e-12, 1e-6, 9e-4, 1.1e-3, 0.01])
def test_a_step_however_narrow_is_the_integral_of_the_density(middle: float, width: float) -> None:
    lower = torch.tensor([middle - width / 2], dtype=torch.float64)
    found = float(log_normal_step(lower, torch.tensor([width], dtype=torch.float64).log()))
    around = quad(lambda t: math.exp(-t * width * (middle + t * width / 2)), -0.5, 0.5, epsabs=0, epsrel=1e-13)[0]
    expected = norm.logpdf(middle) + math.log(width) + math.log(around)
    # The density at the middle stands for that of a narrow step, which leaves out w^2 (m^2 - 1) / 24.
    left_out = min(width, 1e-3) ** 2 * (middle**2 + 1) / 24
    assert found == pytest.approx(expected, abs=left_out + 1e-9)


def test_steps_side_by_side_have_the_probability_of_the_whole() -> None:
    edges = torch.linspace(-45, 45, 9001, dtype=torch.float64)
    found = log_normal_step(edges[:-1], torch.full((9000,), 0.01, dtype=torch.float64).log())
    assert float(found.exp().sum()) == pytest.approx(1, abs=1e-12)
    assert torch.isfinite(found).all()
    assert torch.allclose(found, found.flip(0), rtol=1e-9), "one tail is the other's image"


def test_a_step_over_everything_has_probability_one_and_none_has_more() -> None:
    lower = torch.tensor([-40.0, -1e3, -1e6], dtype=torch.float64)
    found = log_normal_step(lower, torch.tensor([80.0, 2e3, 2e6], dtype=torch.float64).log())
    assert found.tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert (found <= 0).all()
