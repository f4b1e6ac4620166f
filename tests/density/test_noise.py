"""A flow that learned every level of noise, read at one of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from flowguard.density import Inputs, NoiseLevel, RecordDensity

FAMILIES: list[dict[str, Any]] = [
    {"family": "maf", "layers": 1, "hidden": [16], "bins": 4},
    {"family": "maf", "layers": 1, "hidden": [16], "bins": 4, "orders": 2},
    {"family": "realnvp", "layers": 2, "hidden": [16]},
    {"family": "continuous", "hidden": [16], "steps": 8},
]
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f["family"] + str(f.get("orders", "")))


def built(columns: int, **config: Any) -> RecordDensity:
    number = {"kind": "number", "counts": [90, 10]}
    shape = {"columns": [number] * columns, "numeric": 0, "cardinalities": []}
    density = RecordDensity.build(shape | {"noise": 0.5} | config).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return density.eval()


def read_at(density: RecordDensity, level: float) -> RecordDensity:
    assert density.noise is not None
    density.noise.level.fill_(level)
    return density


@each_family
@pytest.mark.parametrize("level", [0.0, 0.1, 0.5])
def test_it_is_a_density_at_every_level(family: dict[str, Any], level: float) -> None:
    density = read_at(built(1, **family), level)
    x = torch.linspace(-40, 40, 40_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        area = torch.trapezoid(density(Inputs.plain(x)).log_density.exp(), x[:, 0])
    assert float(area) == pytest.approx(1.0, abs=1e-3)


@each_family
def test_the_level_is_told(family: dict[str, Any]) -> None:
    density = built(2, **family)
    inputs = Inputs.plain(torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    found = [read_at(density, level)(inputs).log_density for level in (0.0, 0.1, 0.5)]
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[1], found[2])


@each_family
def test_scores_have_no_noise_and_training_does(family: dict[str, Any]) -> None:
    density = built(2, **family)
    inputs = Inputs.plain(torch.zeros(20, 2, dtype=torch.float64))
    assert torch.equal(density(inputs).log_density, density(inputs).log_density)
    density.train()
    assert not torch.equal(density(inputs).log_density, density(inputs).log_density)


def test_missing_values_are_not_disturbed() -> None:
    density = built(2, family="maf", layers=1, hidden=[8], bins=4)
    inputs = Inputs.plain(torch.zeros(5, 2, dtype=torch.float64))
    inputs.codes[:, 1] = 1
    density.train()
    terms = density(inputs).density_terms
    assert terms is not None
    assert (terms[:, 1] == 0).all()
    assert terms[:, 0].unique().numel() == 5


def test_the_level_is_saved_with_the_weights_and_belongs_to_the_density_part() -> None:
    density = read_at(built(2, **FAMILIES[0]), 0.125)
    other = built(2, **FAMILIES[0])
    other.load_state_dict(load(save(density.state_dict())))
    inputs = Inputs.plain(torch.ones(3, 2, dtype=torch.float64))
    assert torch.equal(other(inputs).log_density, density(inputs).log_density)
    part = density.parts()["density"].state_dict()
    read_at(density, 0.0)
    density.parts()["density"].load_state_dict(part | {"2.level": torch.tensor(0.5)})
    assert density.noise is not None
    assert float(density.noise.level) == 0.5


def test_quantiles_and_samples_are_those_of_the_level_that_is_read() -> None:
    density = read_at(built(1, **FAMILIES[0]), 0.5)
    inputs = Inputs.plain(torch.zeros(1, 1, dtype=torch.float64))
    median = density.column_quantile(inputs, 0, 0.5)
    below = torch.linspace(-40, float(median), 20_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        share = torch.trapezoid(density(Inputs.plain(below)).log_density.exp(), below[:, 0])
    assert float(share) == pytest.approx(0.5, abs=1e-3)
    none = torch.zeros(4000, 0, dtype=torch.float64)
    drawn = density.sample(none, none.long(), generator=torch.Generator().manual_seed(2))
    there = drawn.codes[:, 0] == 0
    assert float((drawn.x[there, 0] < median).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_half_of_the_levels_lie_below_a_quarter_of_the_largest() -> None:
    torch.manual_seed(0)
    noise = NoiseLevel(0.4)
    x, told = noise.disturbed(torch.zeros(40_000, 1, dtype=torch.float64))
    assert float(told.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(told.std()) == pytest.approx(1.0, abs=0.02)
    assert float((told < 0).double().mean()) == pytest.approx(0.5, abs=0.01)
    # The noise has the deviation that is told: the mean square of 0.4 u^2 is 0.4^2 / 5.
    assert float(x.square().mean()) == pytest.approx(0.16 / 5, rel=0.05)
    quiet = told[:, 0] < -1
    assert float(x[quiet].std()) < 0.1 * float(x[~quiet].std()) + 0.01


@pytest.mark.parametrize("largest", [0.0, -1.0, math.inf, math.nan])
def test_a_largest_level_that_is_none_is_refused(largest: float) -> None:
    with pytest.raises(ValueError, match="largest noise"):
        NoiseLevel(largest)


def test_without_noise_nothing_is_told_and_nothing_more_is_saved() -> None:
    plain = built(2, noise=0.0, family="maf", layers=1, hidden=[8], bins=4)
    assert plain.noise is None
    assert not [name for name in plain.state_dict() if "noise" in name]
    with pytest.raises(ValueError, match="unknown keys"):
        built(2, family="gaussian")


@pytest.mark.parametrize("family", [FAMILIES[0], FAMILIES[1], FAMILIES[2]], ids=["maf", "orders", "realnvp"])
def test_dropout_is_of_training_alone_and_keeps_the_columns_apart(family: dict[str, Any]) -> None:
    dropped, whole = (built(3, **family, noise=0.0, dropout=rate) for rate in (0.5, 0.0))
    inputs = Inputs.plain(torch.ones(6, 3, dtype=torch.float64))
    assert torch.equal(dropped(inputs).log_density, whole(inputs).log_density)
    dropped.train()
    assert not torch.equal(dropped(inputs).log_density, dropped(inputs).log_density)
    if family["family"] == "maf" and "orders" not in family:
        moved = replace(inputs, x=inputs.x + torch.tensor([0.0, 0.0, 5.0]))
        torch.manual_seed(3)
        before = dropped(inputs).density_terms
        torch.manual_seed(3)
        after = dropped(moved).density_terms
        assert torch.equal(before[:, :2], after[:, :2])
        assert not torch.equal(before[:, 2], after[:, 2])
