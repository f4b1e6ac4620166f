"""Records drawn from a kernel density follow its own exact probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from flowguard.density import Column, Inputs, KernelDensity, fit_kernel
from flowguard.density.kernel_sample import known_shares, pick, sample_kernel, unknown

N = 20_000
MANY = 10**9
"""Counts so large that what never occurred hardly has a probability: nothing is lost with what cannot be drawn."""


def records(codes: np.ndarray, line: np.ndarray, numbers: int, context: Tensor, levels: Tensor) -> Inputs:
    """Records whose front is a stretched straight scale: x = 2 * line."""
    values = torch.from_numpy(line).double().reshape(len(codes), -1)
    blank = values[:, numbers:] * 0
    stretch = torch.full((len(codes), numbers), -math.log(2.0), dtype=torch.float64)
    return Inputs(
        2 * values[:, :numbers], torch.from_numpy(codes), blank, blank, context, levels, values, log_stretch=stretch
    )


def nothing(n: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(n, 0, dtype=torch.float64), torch.zeros(n, 0, dtype=torch.long)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def near(share: float, expected: float, n: int = N) -> bool:
    return abs(share - expected) < 4.5 * math.sqrt(expected * (1 - expected) / n) + 1e-6


COLUMNS = [
    Column("category", (0, 0, MANY, MANY)),
    Column("number", (MANY, MANY // 5, MANY // 9)),
    Column("integer", (MANY, MANY // 10, 0), spacing=0.4, origin=0.1),
]


@pytest.fixture(scope="module", params=["line", "front"])
def kernel(request: pytest.FixtureRequest) -> KernelDensity:
    """A level that decides number and integer, gaps, an atom, and centres without an integer."""
    rng = np.random.default_rng(0)
    level = rng.integers(2, 4, 80)
    gap, hole = rng.choice([0, 0, 0, 1, 2], 80), rng.choice([0, 0, 0, 1], 80)
    number = np.where(gap == 0, rng.normal(2.0 * level - 5, 0.4), 0.0)
    whole = np.where(hole == 0, 0.1 + 0.4 * rng.binomial(3 * level, 0.4), 0.0)
    inputs = records(np.stack([level, gap, hole], 1), np.stack([number, whole], 1), 1, *nothing(80))
    return fit_kernel(inputs, COLUMNS, scale=request.param, seed=0)


def test_codes_and_integers_come_as_often_as_their_probability_says(kernel: KernelDensity) -> None:
    codes, values = sample_kernel(kernel, *nothing(N), generator=seeded())
    points = [(0, 0.1 + 0.4 * k) for k in range(-60, 61)] + [(1, 0.0)]
    every = [(a, b, c, v) for a in (1, 2, 3) for b in range(3) for c, v in points]
    at = np.array([one[:3] for one in every])
    line = np.array([(0.0, one[3]) for one in every])
    chance = kernel(records(at, line, 1, *nothing(len(at)))).log_mass.exp().numpy()
    assert chance.sum() == pytest.approx(1, abs=1e-6)
    whole = values[:, 1].numpy()
    steps = (whole[codes[:, 2].numpy() == 0] - 0.1) / 0.4
    assert np.abs(steps - steps.round()).max() < 1e-6
    for (a, b, c, v), expected in zip(every, chance, strict=True):
        found = (codes == torch.tensor([a, b, c])).all(1).numpy() & (np.abs(whole - v) < 0.01)
        # Of a thousand cells most are nearly empty: a few records in one of them are no surprise.
        assert abs(found.mean() - expected) < 4.5 * math.sqrt(expected / N) + 3 / N, (a, b, c, v)
    for level in (2, 3):
        assert near(float((codes[:, 0] == level).double().mean()), chance[at[:, 0] == level].sum())
    for gap in (0, 1, 2):
        assert near(float((codes[:, 1] == gap).double().mean()), chance[at[:, 1] == gap].sum())


def test_numbers_beside_each_level_have_the_distribution_of_the_density(kernel: KernelDensity) -> None:
    codes, values = sample_kernel(kernel, *nothing(N), generator=seeded(1))
    grid = np.linspace(-12, 12, 2001)
    for level in (2, 3):
        # The integer is missing, as in a quarter of the records: the sum over its points is left out.
        at = np.tile([level, 0, 1], (len(grid), 1))
        found = kernel(records(at, np.stack([grid, 0 * grid], 1), 1, *nothing(len(grid))))
        density = (found.log_mass + found.log_density).exp().numpy()
        cdf = np.cumsum(density) / density.sum()
        rows = (codes == torch.tensor([level, 0, 1])).all(1)
        drawn = values[rows, 0].sort().values.numpy() / (2 if kernel.scale == "front" else 1)
        ranks = (np.arange(len(drawn)) + 0.5) / len(drawn)
        assert len(drawn) > 500
        assert np.abs(np.interp(drawn, grid, cdf) - ranks).max() < 1.95 / math.sqrt(len(drawn))


def test_there_is_no_value_where_the_code_is_none_of_one(kernel: KernelDensity) -> None:
    codes, values = sample_kernel(kernel, *nothing(500), generator=seeded(2))
    assert (values[codes[:, 1:] != 0] == 0).all()
    assert (values[codes[:, 1:] == 0] != 0).all()


def test_the_context_weighs_the_centres() -> None:
    rng = np.random.default_rng(3)
    where, site = rng.uniform(-2, 2, 150), rng.integers(2, 4, 150)
    level = 2 + (rng.random(150) < 1 / (1 + np.exp(-2 * where))).astype(int)
    number = where + 2.0 * site + 0.3 * rng.normal(size=150)
    columns = [Column("category", (0, 0, MANY, MANY)), Column("number", (MANY, 0))]
    given = torch.from_numpy(where).unsqueeze(1), torch.from_numpy(site).unsqueeze(1)
    inputs = records(np.stack([level, 0 * level], 1), number[:, None], 1, *given)
    kernel = fit_kernel(inputs, columns, scale="line", seed=0, cardinalities=[4])
    grid = np.linspace(-12, 20, 1601)
    n = 4000
    for at, place in ((-1.5, 2), (1.0, 3), (0.0, 0)):
        context = torch.full((n, 1), at, dtype=torch.float64), torch.full((n, 1), place)
        codes, values = sample_kernel(kernel, *context, generator=seeded(4))
        whole = [np.stack([np.full(len(grid), code), np.zeros(len(grid), int)], 1) for code in (2, 3)]
        some = context[0][: len(grid)], context[1][: len(grid)]
        found = [kernel(records(codes_at, grid[:, None], 1, *some)) for codes_at in whole]
        assert near(float((codes[:, 0] == 3).double().mean()), float(found[1].log_mass[0].exp()), n)
        density = sum((one.log_mass + one.log_density).exp().numpy() for one in found)
        cdf = np.cumsum(density) / density.sum()
        drawn = values[:, 0].sort().values.numpy()
        ranks = (np.arange(n) + 0.5) / n
        assert np.abs(np.interp(drawn, grid, cdf) - ranks).max() < 1.95 / math.sqrt(n)


@pytest.mark.parametrize("spacing", [1e-5, 0.05, 1.0, 40.0])
def test_integers_are_spread_by_the_width_whether_their_points_lie_close_or_far(spacing: float) -> None:
    columns = [Column("integer", (MANY, 0, 0), spacing=spacing)]
    kernel = KernelDensity(columns, centres=2, widths=1).double()
    kernel.width.fill_(0.5)
    _, values = sample_kernel(kernel, *nothing(N), generator=seeded(5))
    k = np.arange(-round(20 / spacing) - 1, round(20 / spacing) + 2) * spacing
    chance = np.exp(-0.5 * (k / 0.5) ** 2)
    variance = (chance * k**2).sum() / chance.sum()
    assert float(values.mean()) == pytest.approx(0, abs=4 * math.sqrt(variance / N))
    assert float(values.var()) == pytest.approx(variance, rel=0.05)


def test_what_stands_for_no_single_value_is_never_drawn_even_beside_centres_that_have_it() -> None:
    columns = [Column("category", (30, 2, 40, 28), novel=0.4), Column("integer", (60, 10, 30))]
    rng = np.random.default_rng(6)
    codes = np.stack([rng.choice([0, 2, 3], 100), rng.choice([0, 2], 100)], 1)
    kernel = fit_kernel(records(codes, np.zeros((100, 1)), 0, *nothing(100)), columns, scale="line", seed=0)
    drawn, _ = sample_kernel(kernel, *nothing(5000), generator=seeded(7))
    assert set(drawn[:, 0].tolist()) <= {1, 2, 3}
    assert set(drawn[:, 1].tolist()) <= {0, 1}
    # Where a centre's own code cannot be drawn, the others come by their frequencies.
    for column in columns:
        shares = known_shares(column)
        assert sum(shares) == pytest.approx(1)
        assert shares[unknown(column)] == 0  # type: ignore[index]
    share = known_shares(columns[1])[1]
    assert 0 < float((drawn[:, 1] == 1).double().mean()) < share


def test_draws_are_those_of_the_generator_and_no_record_is_a_table_too(kernel: KernelDensity) -> None:
    first, second, other = (sample_kernel(kernel, *nothing(50), generator=seeded(seed)) for seed in (8, 8, 9))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[1], other[1])
    codes, values = sample_kernel(kernel, *nothing(0))
    assert codes.shape == (0, 3)
    assert values.shape == (0, 2)


def test_places_are_picked_by_their_chances() -> None:
    found = pick([0.0, 3.0, 0.0, 1.0, 0.0], N, generator=seeded(10))
    assert set(found.tolist()) == {1, 3}
    assert near(float((found == 3).double().mean()), 0.25)


def test_one_width_is_drawn_for_all_values_of_a_record() -> None:
    columns = [Column("number", (MANY, 0)), Column("integer", (MANY, 0, 0), spacing=0.05)]
    kernel = KernelDensity(columns, centres=2, widths=2).double()
    kernel.width.copy_(torch.tensor([0.1, 0.5]))
    kernel.log_weight.copy_(torch.tensor([0.25, 0.75]).log())
    kernel.values.fill_(3.0)
    _, values = sample_kernel(kernel, *nothing(N), generator=seeded(11))
    squares = (values - 3) ** 2
    mean, both = 0.25 * 0.1**2 + 0.75 * 0.5**2, 0.25 * 0.1**4 + 0.75 * 0.5**4
    assert squares.mean(0).tolist() == pytest.approx([mean, mean], rel=0.06)
    assert float(squares.prod(1).mean()) == pytest.approx(both, rel=0.12)


def test_beside_a_centre_without_a_value_it_is_standard_normal_whatever_the_width() -> None:
    columns = [Column("number", (MANY, 0)), Column("integer", (MANY, 0, 0), spacing=0.05, origin=2.0)]
    kernel = KernelDensity(columns, centres=2, widths=1).double()
    kernel.width.fill_(0.1)
    kernel.leak.fill_(0.9999)
    kernel.codes.fill_(1)
    codes, values = sample_kernel(kernel, *nothing(N), generator=seeded(12))
    there = values[(codes == 0).all(1)]
    assert len(there) > 0.99 * N
    assert there.mean(0).tolist() == pytest.approx([0.0, 2.0], abs=0.04)
    assert there.std(0).tolist() == pytest.approx([1.0, 1.0], rel=0.03)
