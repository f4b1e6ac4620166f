"""The density of a record."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from flowguard.density import Column, Inputs, RecordDensity
from flowguard.density.config import BY_FAMILY, COMMON, REQUIRED, complete_config
from flowguard.errors import InputError

NUMBER, GAPPY = ({"kind": "number", "counts": counts} for counts in ([48, 0], [40, 8]))
ATOMS = {"kind": "number", "counts": [20, 8, 15, 5]}
INTEGER = {"kind": "integer", "counts": [40, 8, 0]}
LEVELS = {"kind": "category", "counts": [0, 8, 30, 10], "novel": 0.02}
CUT = {"kind": "category", "counts": [3, 0, 30, 15]}
CONFIG: dict[str, Any] = {
    "family": "maf",
    "columns": [NUMBER, GAPPY],
    "numeric": 2,
    "cardinalities": [4, 6],
    "hidden": [12, 12],
    "bins": 5,
    "embedding_width": 6,
    "discrete_hidden": [5],
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
    {"family": "continuous", "steps": 12},
]
TRIANGULAR = [FAMILIES[0], FAMILIES[3], FAMILIES[4]]
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: "-".join(map(str, f.values())))
STEP = 0.7


def trained(config: dict[str, Any], *, scale: float = 0.07) -> RecordDensity:
    known = {*REQUIRED, *COMMON, *BY_FAMILY[config["family"]]}
    density = RecordDensity.build({key: config[key] for key in config if key in known}).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return density


def some(config: dict[str, Any], n: int) -> Inputs:
    """Records of the config's columns, every code among them."""
    columns = [Column.from_dict(column) for column in config["columns"]]
    generator = torch.Generator().manual_seed(8)

    def normal(width: int) -> torch.Tensor:
        return torch.randn(n, width, generator=generator, dtype=torch.float64)

    kinds = [column.kind for column in columns]
    lower = torch.floor(2 * normal(kinds.count("integer")) / STEP) * STEP
    return Inputs(
        x=normal(kinds.count("number")),
        codes=torch.stack([torch.randint(len(c.counts), (n,), generator=generator) for c in columns], 1),
        lower=lower,
        log_width=torch.full_like(lower, math.log(STEP)),
        context=normal(2),
        levels=torch.stack([torch.randint(k, (n,), generator=generator) for k in (4, 6)], 1),
    )


def total(density: RecordDensity, given: Inputs, *, points: int = 240, reach: float = 14.0) -> float:
    """The sum over everything discrete of the integral over everything continuous, given one record's context."""
    columns = density.discrete.columns
    step = 2 * reach / points
    grid = -reach + step * (torch.arange(points, dtype=torch.float64) + 0.5)
    edges = STEP * torch.arange(-60, 60, dtype=torch.float64)
    nowhere, found = torch.full((1,), torch.nan, dtype=torch.float64), 0.0
    for codes in product(*(range(len(column.counts)) for column in columns)):
        pairs = list(zip(codes, columns, strict=True))
        axes = [grid if code == 0 else nowhere for code, column in pairs if column.kind == "number"]
        axes += [edges if code == 0 else nowhere for code, column in pairs if column.kind == "integer"]
        cells = torch.cartesian_prod(*axes).reshape(-1, len(axes)) if axes else torch.zeros(1, 0).double()
        n, m = len(cells), sum(column.kind == "number" for column in columns)
        inputs = Inputs(
            x=cells[:, :m],
            codes=torch.tensor([codes]).expand(n, -1),
            lower=cells[:, m:],
            log_width=torch.full_like(cells[:, m:], math.log(STEP)),
            context=given.context[:1].expand(n, -1),
            levels=given.levels[:1].expand(n, -1),
        )
        values = sum(code == 0 and column.kind == "number" for code, column in pairs)
        with torch.no_grad():
            found += density(inputs).log_likelihood.exp().sum().item() * step**values
    return found


@each_family
@pytest.mark.parametrize("columns", [[NUMBER, NUMBER], [NUMBER, GAPPY], [GAPPY, GAPPY]], ids=["none", "one", "both"])
def test_over_all_masks_and_values_it_sums_and_integrates_to_one(family: dict[str, Any], columns: list[Any]) -> None:
    config = CONFIG | family | {"columns": columns}
    assert total(trained(config), some(config, 1), points=160) == pytest.approx(1, abs=1e-3)


@each_family
@pytest.mark.parametrize(
    "columns",
    [[LEVELS, CUT, ATOMS], [ATOMS, INTEGER, CUT], [INTEGER], [CUT], [LEVELS, INTEGER]],
    ids=["two categories, one number", "all kinds", "integer", "category", "no number"],
)
def test_a_mixed_record_sums_and_integrates_to_one(family: dict[str, Any], columns: list[Any]) -> None:
    config = CONFIG | family | {"columns": columns}
    assert total(trained(config), some(config, 1)) == pytest.approx(1, abs=1e-3)


MIXED = {"columns": [ATOMS, INTEGER, CUT, NUMBER, LEVELS]}


@each_family
def test_terms_sum_to_mass_and_density(family: dict[str, Any]) -> None:
    config = CONFIG | family | MIXED
    density, inputs = trained(config), some(config, 50)
    parts = density(inputs)
    assert torch.equal(parts.log_likelihood, parts.log_mass + parts.log_density)
    torch.testing.assert_close(parts.mass_terms.sum(-1), parts.log_mass)
    assert (parts.density_terms is not None) == density.triangular == (family in TRIANGULAR)
    assert (parts.ensemble != 0).any() == (density.orders > 1) == ("orders" in family)
    if parts.density_terms is not None:
        whole = parts.density_terms.sum(-1) + parts.ensemble
        torch.testing.assert_close(whole, parts.log_density, rtol=0, atol=1e-9)
        assert (parts.density_terms[:, [1, 2, 4]] == 0).all(), "no density but of numbers"
        assert (parts.density_terms[:, 0][inputs.codes[:, 0] != 0] == 0).all(), "none at an atom or where missing"
        assert (parts.density_terms[:, 0][inputs.codes[:, 0] == 0] != 0).all()


def test_the_discrete_part_and_the_context_reach_the_first_column() -> None:
    config = CONFIG | {"columns": [NUMBER, GAPPY, INTEGER, LEVELS]}
    density, inputs = trained(config), some(config, 20)
    codes = torch.zeros_like(inputs.codes)
    codes[:, 3] = 2
    inputs = replace(inputs, codes=codes)
    first = density(inputs).density_terms[:, 0]
    gap, level = codes.clone(), codes.clone()
    gap[:, 1], level[:, 3] = 1, 3
    other = inputs.levels.clone()
    other[:, 1] = (inputs.levels[:, 1] + 1) % 6
    for changed in (
        replace(inputs, codes=gap),
        replace(inputs, codes=level),
        replace(inputs, lower=inputs.lower + 1),
        replace(inputs, context=inputs.context + 1),
        replace(inputs, levels=other),
    ):
        assert (density(changed).density_terms[:, 0] != first).all()


def test_what_stands_where_there_is_no_value_does_not_matter() -> None:
    config = CONFIG | MIXED
    density, inputs = trained(config), some(config, 60)
    none, no_step = ~density.observed(inputs.codes), inputs.codes[:, [1]] != 0
    junk = replace(
        inputs,
        x=inputs.x.masked_fill(none, torch.nan),
        lower=inputs.lower.masked_fill(no_step, torch.nan),
        log_width=inputs.log_width.masked_fill(no_step, torch.nan),
    )
    assert torch.equal(density(junk).log_likelihood, density(inputs).log_likelihood)


@each_family
def test_it_is_rebuilt_from_plain_json_and_tensors_bit_by_bit(family: dict[str, Any]) -> None:
    density = trained(CONFIG | family | MIXED).float()
    again = RecordDensity.build(json.loads(json.dumps(density.config))).float().eval()
    assert again.config == density.config
    again.load_state_dict(load(save(density.state_dict())))
    inputs = some(CONFIG | MIXED, 30).to(torch.float32)
    found, expected = again(inputs), density(inputs)
    assert torch.equal(found.log_mass, expected.log_mass)
    assert torch.equal(found.log_density, expected.log_density)


def test_a_record_does_not_depend_on_its_batch() -> None:
    density, batch = trained(CONFIG | MIXED), some(CONFIG | MIXED, 60)
    expected = density(batch).log_likelihood
    rows = torch.randperm(60, generator=torch.Generator().manual_seed(3))[:23]
    torch.testing.assert_close(density(batch.take(rows)).log_likelihood, expected[rows], rtol=0, atol=1e-12)
    assert density(batch.take(rows[:0])).log_mass.shape == (0,)


@pytest.mark.parametrize("family", FAMILIES[:1] + FAMILIES[4:6] + FAMILIES[7:], ids=lambda f: f["family"])
def test_a_value_in_a_column_that_was_never_missing_or_seen_before_is_finite_and_improbable(
    family: dict[str, Any],
) -> None:
    config = CONFIG | family | {"columns": [NUMBER, {"kind": "category", "counts": [0, 0, 40, 8], "novel": 0.02}]}
    density, inputs = trained(config), some(config, 4)
    inputs = replace(inputs, codes=torch.tensor([[0, 2], [1, 2], [0, 0], [0, 1]]))
    log_mass = density(inputs).log_mass
    assert torch.isfinite(density(inputs).log_likelihood).all()
    assert (log_mass[1:] < -3).all()
    assert log_mass[0] > -3


def test_a_columns_quantile_is_its_own_given_the_rest_and_the_context() -> None:
    density, inputs = trained(CONFIG), some(CONFIG, 40)
    inputs = replace(inputs, codes=torch.zeros_like(inputs.codes))
    low, high = (density.column_quantile(inputs, 1, q) for q in (0.05, 0.95))
    assert (low < high).all()
    at = inputs.x.clone()
    at[:, 1] = high
    observed = torch.ones(40, 2, dtype=torch.bool)
    level = torch.special.ndtr(density.flow.latent(at, density._given(inputs), observed=observed)[:, 1])
    torch.testing.assert_close(level, torch.full_like(level, 0.95))
    # The column counts as having a value, whatever the record says.
    gone = replace(inputs, codes=torch.tensor([[0, 1]]).expand(40, -1))
    assert torch.equal(density.column_quantile(gone, 1, 0.95), high)


def test_integers_have_quantiles_and_categories_have_probabilities() -> None:
    config = CONFIG | MIXED
    density, inputs = trained(config), some(config, 30)
    low, high = (density.column_quantile(inputs, 1, q) for q in (0.05, 0.95))
    assert (low < high).all()
    every = density.column_quantiles(inputs, 0.95)
    whole = density.discrete.integers
    torch.testing.assert_close(
        every[:, len(density.numbers) :], torch.stack([density.column_quantile(inputs, i, 0.95) for i in whole], 1)
    )
    for place, column in enumerate(density.numbers.tolist()):
        there = inputs.codes[:, column] == 0
        assert torch.equal(every[:, place].isnan(), ~there)
        torch.testing.assert_close(every[there, place], density.column_quantile(inputs, column, 0.95)[there])
    chances = density.code_log_probs(inputs, 4).exp()
    assert chances.shape == (30, 4)
    torch.testing.assert_close(chances.sum(1), torch.ones(30, dtype=torch.float64))
    own = chances.gather(1, inputs.codes[:, 4:]).squeeze(1).log()
    torch.testing.assert_close(own, density(inputs).mass_terms[:, 4])
    with pytest.raises(TypeError, match="feature 4 is a category"):
        density.column_quantile(inputs, 4, 0.5)


@each_family
def test_samples_are_records_of_the_density(family: dict[str, Any]) -> None:
    config = CONFIG | family | {"columns": [GAPPY, CUT, INTEGER]}
    density, one = trained(config), some(config, 1)
    n = 4000

    def lattice(place: int, point: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.floor(point / STEP) * STEP, torch.full_like(point, math.log(STEP))

    drawn = density.sample(
        one.context.expand(n, -1),
        one.levels.expand(n, -1),
        lattice=lattice,
        generator=torch.Generator().manual_seed(4),
    )
    assert (drawn.x[drawn.codes[:, :1] != 0] == 0).all()
    for column in range(2):
        for code in range(len(density.discrete.columns[column].counts)):
            expected = density.code_log_probs(drawn, column)[:, code].exp().mean().item()
            found = (drawn.codes[:, column] == code).double().mean().item()
            assert abs(found - expected) < 5 * (expected * (1 - expected) / n) ** 0.5 + 1e-9


def test_gradients_reach_every_parameter() -> None:
    density = trained(CONFIG | MIXED).train()
    (-density(some(CONFIG | MIXED, 200)).log_likelihood.mean()).backward()
    for name, parameter in density.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_a_record_without_any_context_or_observed_value_has_a_likelihood() -> None:
    density = RecordDensity.build(
        {"columns": [{"kind": "number", "counts": [2, 1]}], "numeric": 0, "cardinalities": []}
    )
    inputs = replace(Inputs.plain(torch.zeros(2, 1)), codes=torch.tensor([[0], [1]]))
    parts = density(inputs)
    assert torch.isfinite(parts.log_likelihood).all()
    assert parts.log_density[1] == 0


def test_two_thousand_columns_of_zeros_and_ones_have_a_likelihood() -> None:
    columns = [{"kind": "category", "counts": [0, 0, 80, 20]}] * 1990 + [ATOMS] * 10
    density = RecordDensity.build({"columns": columns, "numeric": 0, "cardinalities": [], "layers": 1})
    codes = torch.randint(2, 4, (8, 2000), generator=torch.Generator().manual_seed(1))
    inputs = replace(Inputs.plain(torch.zeros(8, 2000)), x=torch.zeros(8, 10), codes=codes)
    parts = density(inputs)
    (-parts.log_likelihood.mean()).backward()
    assert torch.isfinite(parts.log_likelihood).all()
    assert parts.log_mass.mean().item() == pytest.approx(1995 * math.log(0.4), rel=0.1)


def test_mixing_is_refused_where_values_can_be_missing() -> None:
    mixed = {key: CONFIG[key] for key in REQUIRED} | {"family": "realnvp", "mixing": "lu"}
    with pytest.raises(InputError, match="1 of the 2 numbers are missing or at an atom in some training records"):
        RecordDensity.build(mixed)
    density = RecordDensity.build(mixed | {"columns": [NUMBER, NUMBER, LEVELS]})
    # Missing where it never was: improbable, scored on what is there.
    parts = density(some({"columns": [GAPPY, GAPPY, LEVELS]}, 20).to(torch.float32))
    assert torch.isfinite(parts.log_likelihood).all()


def test_the_config_is_completed_and_checked() -> None:
    needed = {key: CONFIG[key] for key in REQUIRED}
    full = complete_config(needed | {"transformer": None})
    assert full["family"] == "maf"
    assert (full["transformer"], full["order"], full["layers"]) == ("spline", "single", 3)
    assert full["discrete_hidden"] == [16], "a small network where only missing values are to be learned"
    assert complete_config(needed | MIXED)["discrete_hidden"] == [64, 64]
    full = complete_config(needed | {"family": "realnvp"})
    assert (full["transformer"], full["order"], full["layers"]) == ("affine", "alternate", 6)
    with pytest.raises(ValueError, match="2 orders are an ensemble of order 'single', not 'random'"):
        RecordDensity.build(needed | {"orders": 2, "order": "random"})
    with pytest.raises(ValueError, match="unknown family 'glow'; known: maf, realnvp"):
        complete_config(needed | {"family": "glow"})
    with pytest.raises(ValueError, match=r"absent keys \['columns'\], unknown keys \['depth'\]"):
        complete_config({k: v for k, v in needed.items() if k != "columns"} | {"depth": 3})
    with pytest.raises(ValueError, match="at least one column"):
        complete_config(needed | {"columns": []})


@each_family
def test_records_drawn_from_the_density_have_standard_normal_noise_in_every_order(family: dict[str, Any]) -> None:
    density = trained(CONFIG | family)
    generator = torch.Generator().manual_seed(3)
    context = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    levels = torch.randint(0, 4, (400, 2), generator=generator)
    drawn = density.sample(context, levels, generator=generator)
    with torch.no_grad():
        z = density.latent(drawn)
    there = density.observed(drawn.codes)
    assert z.shape == (400, density.orders, 2)
    assert not z[~there[:, None].expand_as(z)].any()
    if density.orders == 1:  # of several orders each record was drawn in one
        found = z[:, 0][there]
        assert abs(float(found.mean())) < 0.15
        assert abs(float(found.std()) - 1) < 0.1


def test_a_table_without_numbers_has_no_noise() -> None:
    density = trained(CONFIG | {"columns": [LEVELS, CUT]})
    drawn = density.sample(torch.zeros(3, 2, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.long))
    assert density.latent(drawn).shape == (3, 1, 0)
