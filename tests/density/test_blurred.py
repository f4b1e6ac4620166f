"""The blurred density: one measure for atoms, integers, levels and numbers, that of scikit-learn's kernel density."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity as Reference

from flowguard.density import Blurred, Column, Inputs, fit_blurred
from flowguard.density.blurred import OWN, places_of

COLUMNS = [
    Column("integer", (80, 0, 0), spacing=0.5),
    Column("number", (50, 0, 30)),
    Column("number", (80, 0)),
]
"""In the line, numbers come first: the second, the third, then the integer."""


def records(n: int = 80, seed: int = 0) -> Inputs:
    rng = np.random.default_rng(seed)
    whole, gap = 0.5 * rng.integers(-3, 4, n), rng.random(n) < 0.4
    some, free = np.where(gap, 1.5, rng.normal(size=n)), rng.normal(3.0, 2.0, n)
    codes = np.stack([np.zeros(n, int), 2 * gap, np.zeros(n, int)], 1)
    line = torch.from_numpy(np.stack([some, free, whole], 1))
    nothing = torch.zeros(n, 1, dtype=torch.float64)
    return Inputs(
        x=line[:, :2] * torch.from_numpy(codes[:, 1:] == 0),
        codes=torch.from_numpy(codes),
        lower=nothing,
        log_width=nothing,
        context=torch.zeros(n, 0, dtype=torch.float64),
        levels=torch.zeros(n, 0, dtype=torch.long),
        line=line,
        log_stretch=torch.zeros(n, 2, dtype=torch.float64),
    )


@torch.no_grad()
def test_it_is_scikit_learns_kernel_density_of_the_standardised_values_atoms_and_integers_among_them() -> None:
    centres, queries = records(), records(40, seed=1)
    blurred = fit_blurred(centres, COLUMNS, seed=0)
    places = [2, 0, 1]  # of the features in the line
    values = centres.line.float().double()[:, places].numpy()  # type: ignore[union-attr]
    middle, deviation = values.mean(0), values.std(0)
    assert np.allclose(blurred.middle.numpy(), middle, atol=1e-6)
    assert np.allclose(blurred.deviation.numpy(), deviation, rtol=1e-6)
    asked = (queries.line[:, places].numpy() - middle) / deviation  # type: ignore[index]
    widths, weights = blurred.kernel.width.tolist(), blurred.kernel.log_weight.exp().tolist()
    each = [
        weight * np.exp(Reference(bandwidth=width).fit((values - middle) / deviation).score_samples(asked))
        for width, weight in zip(widths, weights, strict=True)
    ]
    log_mass, log_density = blurred.kernel.totals(blurred.seen(queries))
    assert np.allclose(log_density.exp().numpy(), sum(each), rtol=1e-3)
    assert torch.allclose(blurred(queries), log_mass + log_density)
    assert -0.02 < float(log_mass.max()) < 0, "nothing is missing, which is all but sure"


@torch.no_grad()
def test_it_integrates_to_one_where_the_records_have_an_atom() -> None:
    centres = records()
    line = centres.line[:, :1]  # type: ignore[index]
    none = line[:, :0]
    one = Inputs(line, centres.codes[:, 1:2], none, none, none, centres.levels, line, none)
    blurred = fit_blurred(one, COLUMNS[1:2], seed=0)
    grid = torch.linspace(-8, 8, 8001, dtype=torch.float64)[:, None]
    none, codes = grid[:, :0], torch.zeros(len(grid), 1, dtype=torch.long)
    at = Inputs(grid, codes, none, none, none, torch.zeros(len(grid), 0, dtype=torch.long), grid, none)
    area = torch.trapezoid(blurred(at).exp(), grid[:, 0]) / float(blurred.deviation)
    assert float(area) == pytest.approx(0.99, abs=0.01), "the rest is the chance that it is missing"


@torch.no_grad()
def test_beside_an_atom_is_as_likely_as_at_it_whatever_its_code() -> None:
    centres = records()
    blurred = fit_blurred(centres, COLUMNS, seed=0)
    at = centres.take(torch.nonzero(centres.codes[:, 1] == 2)[:1, 0])
    codes, line = at.codes.clone(), at.line.clone()  # type: ignore[union-attr]
    codes[:, 1] = 0
    line[:, 0] += 1e-9
    assert float(blurred(replace(at, codes=codes, line=line))) == pytest.approx(float(blurred(at)), abs=1e-6)


@torch.no_grad()
def test_a_missing_value_counts_as_missing_and_absurd_ones_stay_finite_and_in_order() -> None:
    centres = records()
    columns = [COLUMNS[0], Column("number", (45, 5, 30)), COLUMNS[2]]
    codes = centres.codes.clone()
    codes[:5, 1] = 1
    blurred = fit_blurred(replace(centres, codes=codes), columns, seed=0)
    first = centres.take(torch.zeros(5, dtype=torch.long))
    line = first.line.clone()  # type: ignore[union-attr]
    line[:, 1] = torch.tensor([0.0, 1e2, 1e4, 1e8, 1e100], dtype=torch.float64)
    found = blurred(replace(first, line=line))
    assert bool(torch.isfinite(found).all())
    assert bool((found.diff() < 0).all())
    gone = codes[:1].clone()
    other = centres.line[:1].clone()  # type: ignore[index]
    other[0, 0] = math.inf  # of a missing value anything may stand there
    missing = blurred(replace(centres.take(slice(0, 1)), codes=gone, line=other.nan_to_num(posinf=7e9)))
    assert float(missing) == float(blurred(replace(centres.take(slice(0, 1)), codes=gone)))


@torch.no_grad()
def test_the_state_gives_back_the_same_bits() -> None:
    centres = records()
    blurred = fit_blurred(centres, COLUMNS, seed=0)
    again = Blurred(COLUMNS, centres=len(centres)).float()
    again.load_state_dict({name: part.clone() for name, part in blurred.float().state_dict().items()})
    queries = records(20, seed=2)
    assert again.double()(queries).tolist() == blurred.double()(queries).tolist()


@torch.no_grad()
def test_a_column_that_never_varies_among_the_centres_does_not_break_it() -> None:
    centres = records()
    line = centres.line.clone()  # type: ignore[union-attr]
    line[:, 1] = 0.25
    blurred = fit_blurred(replace(centres, line=line), COLUMNS, seed=0)
    assert float(blurred.deviation[2]) == 1.0
    assert bool(torch.isfinite(blurred(records(20, seed=1))).all())


def test_levels_are_as_far_apart_as_standardised_indicators_put_them() -> None:
    counts = (0, 0, 600, 300, 99)
    places = places_of(Column("category", counts)).numpy()
    shown = np.repeat([2, 3, 4], [600, 300, 99])
    indicators = (shown[:, None] == [2, 3, 4]) / (shown[:, None] == [2, 3, 4]).std(0)
    for a, b in ((0, 600), (0, 950), (600, 950)):
        expected = np.linalg.norm(indicators[a] - indicators[b]) / math.sqrt(2)
        assert np.linalg.norm(places[shown[a]] - places[shown[b]]) == pytest.approx(expected, rel=0.02)
    never = np.linalg.norm(places[[0]] - places[2:], axis=1)
    assert never.min() > np.linalg.norm(places[2] - places[4]), "a level that never occurred is farthest out"


def test_two_levels_are_one_column_of_zero_and_one_standardised() -> None:
    places = places_of(Column("category", (0, 0, 800, 199)))
    share = 199 / 999
    assert abs(float(places[2] - places[3])) == pytest.approx(1 / math.sqrt(share * (1 - share)), rel=0.01)
    assert abs(float(places[0] - places[2])) > 10
    assert places_of(Column("category", (0, 0, 5))).shape == (3, 1)


def test_of_ten_thousand_levels_few_have_an_axis_of_their_own_and_the_others_share_one() -> None:
    counts = (0, 3, *range(10_000, 0, -1))
    places = places_of(Column("category", counts))
    assert places.shape == (10_002, OWN + 1)
    assert bool((places[2 : OWN + 2, -1] == 0).all())
    assert bool((places[OWN + 2 :] == places[0]).all())


@torch.no_grad()
def test_levels_missing_values_and_context_go_together() -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(2, 4, 200)
    columns = [Column("category", (0, 0, 100, 100), novel=0.01), Column("number", (200, 0))]
    line = torch.from_numpy(rng.normal(4.0 * level, 0.3))[:, None]
    plain = Inputs.plain(line, torch.from_numpy(rng.normal(size=(200, 1))))
    codes = torch.from_numpy(np.stack([level, np.zeros(200, int)], 1))
    centres = replace(plain, codes=codes, line=line)
    blurred = fit_blurred(centres, columns, seed=0)
    swapped = codes.clone()
    swapped[:, 0] = 5 - codes[:, 0]
    unseen = codes.clone()
    unseen[:, 0] = 0
    here, there, nowhere = (float(blurred(replace(centres, codes=each)).mean()) for each in (codes, swapped, unseen))
    assert here > there + 3
    assert there > nowhere


def test_records_without_a_straight_scale_are_refused() -> None:
    blurred = Blurred([Column("number", (5, 0))], centres=5)
    with pytest.raises(ValueError, match="without `line`"):
        blurred(Inputs.plain(torch.zeros(3, 1)))
