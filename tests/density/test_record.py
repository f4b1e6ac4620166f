"""The density of a record."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from flowguard.density import RecordDensity
from flowguard.density.record import BY_FAMILY, COMMON, REQUIRED, complete_config
from flowguard.errors import InputError

CONFIG: dict[str, Any] = {
    "family": "maf",
    "features": 2,
    "numeric": 2,
    "cardinalities": [4, 6],
    "maskable": [1],
    "training_rows": 48,
    "hidden": [12, 12],
    "bins": 5,
    "embedding_width": 6,
    "mask_hidden": [5],
    "seed": 2,
}
FAMILIES = [
    {"family": "maf", "layers": 2},
    {"family": "maf", "order": "random", "transformer": "affine"},
    {"family": "maf", "order": "alternate", "transformer": "mixture", "components": 3, "layers": 2},
    {"family": "maf", "orders": 3, "layers": 1},
    {"family": "gaussian"},
    {"family": "realnvp"},
    {"family": "realnvp", "order": "random", "transformer": "spline", "layers": 2},
]
TRIANGULAR = [FAMILIES[0], FAMILIES[3], FAMILIES[4]]
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: "-".join(map(str, f.values())))


def trained(config: dict[str, Any], *, scale: float = 0.07) -> RecordDensity:
    known = {*REQUIRED, *COMMON, *BY_FAMILY[config["family"]]}
    density = RecordDensity.build({key: config[key] for key in config if key in known}).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return density


def inputs(n: int, *, features: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(8)
    x, context = (torch.randn(n, k, generator=generator, dtype=torch.float64) for k in (features, 2))
    observed = torch.rand(n, features, generator=generator) > 0.3
    codes = torch.stack([torch.randint(k, (n,), generator=generator) for k in (4, 6)], 1)
    return x, observed, context, codes


@each_family
@pytest.mark.parametrize("maskable", [[], [1], [0, 1]])
def test_over_all_masks_and_values_it_sums_and_integrates_to_one(family: dict[str, Any], maskable: list[int]) -> None:
    density = trained(CONFIG | family | {"maskable": maskable})
    step = 28 / 240
    points = -14 + step * (torch.arange(240, dtype=torch.float64) + 0.5)
    *_, context, codes = inputs(1)
    total = 0.0
    for first, second in product((True, False), repeat=2):
        nowhere = torch.full((1,), torch.nan, dtype=torch.float64)
        x = torch.cartesian_prod(points if first else nowhere, points if second else nowhere)
        observed = torch.tensor([[first, second]]).expand(len(x), -1)
        with torch.no_grad():
            parts = density(x, observed, context.expand(len(x), -1), codes.expand(len(x), -1))
        total += parts.log_likelihood.exp().sum().item() * step ** (first + second)
    assert total == pytest.approx(1, abs=1e-3)


@each_family
def test_terms_sum_to_mass_and_density(family: dict[str, Any]) -> None:
    density = trained(CONFIG | family)
    x, observed, context, codes = inputs(50)
    parts = density(x, observed, context, codes)
    assert torch.equal(parts.log_likelihood, parts.log_mass + parts.log_density)
    torch.testing.assert_close(parts.mass_terms.sum(-1), parts.log_mass)
    assert (parts.density_terms is not None) == density.triangular == (family in TRIANGULAR)
    assert (parts.ensemble != 0).any() == (density.orders > 1) == ("orders" in family)
    if parts.density_terms is not None:
        whole = parts.density_terms.sum(-1) + parts.ensemble
        torch.testing.assert_close(whole, parts.log_density, rtol=0, atol=1e-9)
        assert (parts.density_terms[~observed] == 0).all()


def test_the_mask_and_the_context_reach_the_first_column() -> None:
    density = trained(CONFIG)
    x, _, context, codes = inputs(20)
    observed = torch.ones(20, 2, dtype=torch.bool)
    first = density(x, observed, context, codes).density_terms[:, 0]
    without = observed.clone()
    without[:, 1] = False
    other = codes.clone()
    other[:, 1] = (codes[:, 1] + 1) % 6
    for mask, numbers, levels in (
        (without, context, codes),
        (observed, context + 1, codes),
        (observed, context, other),
    ):
        assert (density(x, mask, numbers, levels).density_terms[:, 0] != first).all()


@each_family
def test_it_is_rebuilt_from_plain_json_and_tensors_bit_by_bit(family: dict[str, Any]) -> None:
    density = trained(CONFIG | family).float()
    again = RecordDensity.build(json.loads(json.dumps(density.config))).eval()
    assert again.config == density.config
    again.load_state_dict(load(save(density.state_dict())))
    x, observed, context, codes = inputs(30)
    found, expected = (d(x.float(), observed, context.float(), codes) for d in (again, density))
    assert torch.equal(found.log_mass, expected.log_mass)
    assert torch.equal(found.log_density, expected.log_density)


def test_a_record_does_not_depend_on_its_batch() -> None:
    density = trained(CONFIG)
    batch = inputs(60)
    expected = density(*batch).log_likelihood
    rows = torch.randperm(60, generator=torch.Generator().manual_seed(3))[:23]
    found = density(*(part[rows] for part in batch)).log_likelihood
    torch.testing.assert_close(found, expected[rows], rtol=0, atol=1e-12)
    assert density(*(part[:0] for part in batch)).log_mass.shape == (0,)


def test_a_columns_quantile_is_its_own_given_mask_and_context() -> None:
    density = trained(CONFIG)
    x, _, context, codes = inputs(40)
    observed = torch.ones(40, 2, dtype=torch.bool)
    observed[0, 1] = False
    low, high = (density.column_quantile(x, observed, context, codes, 1, q) for q in (0.05, 0.95))
    assert low[0].isnan()
    assert (low[1:] < high[1:]).all()
    given = density._given(density.embedding(context, codes), observed)
    at = x.clone()
    at[:, 1] = torch.where(observed[:, 1], high, 0.0)
    level = torch.special.ndtr(density.flow.latent(at, given, observed=observed)[1:, 1])
    torch.testing.assert_close(level, torch.full_like(level, 0.95))


@each_family
def test_samples_are_records_of_the_density(family: dict[str, Any]) -> None:
    density = trained(CONFIG | family)
    *_, context, codes = inputs(1)
    n = 4000
    x, observed = density.sample(context.expand(n, -1), codes.expand(n, -1), torch.Generator().manual_seed(4))
    assert (x[~observed] == 0).all()
    mask = torch.tensor([[True, False]])
    chance = density(x[:1], mask, context, codes).log_mass.exp().item()
    found = (observed == mask).all(1).double().mean().item()
    assert abs(found - chance) < 5 * (chance * (1 - chance) / n) ** 0.5


def test_gradients_reach_every_parameter() -> None:
    density = trained(CONFIG).train()
    parts = density(*inputs(200))
    (-parts.log_likelihood.mean()).backward()
    for name, parameter in density.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_a_record_without_any_context_or_observed_value_has_a_likelihood() -> None:
    density = RecordDensity.build(
        {"features": 1, "numeric": 0, "cardinalities": [], "maskable": [0], "training_rows": 3}
    )
    nothing, codes = torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.long)
    parts = density(torch.zeros(2, 1), torch.tensor([[True], [False]]), nothing, codes)
    assert torch.isfinite(parts.log_likelihood).all()
    assert parts.log_density[1] == 0


def test_mixing_is_refused_where_columns_can_be_missing() -> None:
    mixed = {key: CONFIG[key] for key in REQUIRED} | {"family": "realnvp", "mixing": "lu"}
    with pytest.raises(InputError, match="1 of the 2 features are missing in some training records"):
        RecordDensity.build(mixed)
    density = RecordDensity.build(mixed | {"maskable": []})
    # Missing where it never was: improbable, scored on what is there.
    x, observed, context, codes = inputs(20)
    parts = density(x.float(), observed, context.float(), codes)
    assert torch.isfinite(parts.log_likelihood).all()


def test_the_config_is_completed_and_checked() -> None:
    needed = {key: CONFIG[key] for key in REQUIRED}
    full = complete_config(needed | {"transformer": None})
    assert full["family"] == "maf"
    assert (full["transformer"], full["order"], full["layers"]) == ("spline", "single", 3)
    full = complete_config(needed | {"family": "realnvp"})
    assert (full["transformer"], full["order"], full["layers"]) == ("affine", "alternate", 6)
    with pytest.raises(ValueError, match="2 orders are an ensemble of order 'single', not 'random'"):
        RecordDensity.build(needed | {"orders": 2, "order": "random"})
    with pytest.raises(ValueError, match="unknown family 'glow'; known: maf, realnvp"):
        complete_config(needed | {"family": "glow"})
    with pytest.raises(ValueError, match=r"absent keys \['features'\], unknown keys \['depth'\]"):
        complete_config({k: v for k, v in needed.items() if k != "features"} | {"depth": 3})
