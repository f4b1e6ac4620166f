from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import norm

from flowguard.density import RecordDensity
from flowguard.detector.evaluate import inputs_of
from flowguard.encoding import ContextSettings, Encoder, FeatureSettings
from flowguard.explain.outline import Outline
from flowguard.explain.replaced import LEVELS, Conditionals

N = 300


def built(encoder: Encoder, *, shake: float = 0.1, **config) -> RecordDensity:
    given = {"columns": encoder.density_columns(), "numeric": encoder.context_width, "hidden": [16]}
    given |= {"cardinalities": list(encoder.cardinalities), **({"layers": 1} if "family" not in config else {})}
    if config.get("family") == "gaussian":
        given.pop("hidden")
    density = RecordDensity.build(given | config).double().eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():  # away from the identity that a flow may start from
        for parameter in density.parameters():
            parameter += shake * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return density


@pytest.fixture(scope="module")
def gaussian() -> tuple[Encoder, RecordDensity, pa.RecordBatch]:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N, 4)) @ rng.normal(size=(4, 4))
    batch = pa.record_batch({f"x{i}": values[:, i] for i in range(4)})
    encoder = Encoder.fit({f"x{i}": FeatureSettings(front="standard") for i in range(4)}, {}, [batch], seed=0)
    return encoder, built(encoder, family="gaussian"), batch


def closed_form(density: RecordDensity, x: np.ndarray, i: int) -> tuple[np.ndarray, float]:
    """Mean and deviation of column i given the others, from the precision that the regressions make."""
    bijection = density.flow.bijection
    with torch.no_grad():
        apart = np.eye(4) - bijection.on_columns.weight.tril(-1).numpy()
        scale = bijection._log_scale().exp().numpy()
        center = bijection._center(torch.zeros(1, 4, dtype=torch.float64), None).numpy()[0]
    precision = apart.T @ np.diag(scale**2) @ apart
    mean = np.linalg.solve(apart, center)
    off = (x - mean) @ precision
    return x[:, i] - off[:, i] / precision[i, i], precision[i, i] ** -0.5


@pytest.mark.parametrize("column", range(4))
def test_a_gaussian_s_conditionals_are_those_of_the_closed_form(gaussian, column):
    encoder, density, batch = gaussian
    inputs = inputs_of(encoder.encode(batch))
    [found] = Conditionals(density, encoder, inputs).of([(column, np.arange(N))], rounds=3)
    mean, deviation = closed_form(density, inputs.x.numpy(), column)
    z = (inputs.x[:, column].numpy() - mean) / deviation
    # Log-linear between the points: a thousandth of a nat, a twentieth of a deviation without an outline.
    np.testing.assert_allclose(found.contrast, 0.5 * z**2, atol=2e-3)
    np.testing.assert_allclose((found.profile.mode - mean) / deviation, 0, atol=0.06)
    for q in (0.05, 0.5, 0.95):
        np.testing.assert_allclose((found.profile.quantile(q) - mean) / deviation, norm.ppf(q), atol=0.05)
    np.testing.assert_allclose(found.profile.below(found.axis), norm.cdf(z), atol=0.02)
    with torch.no_grad():
        rest = density.log_prob(inputs).numpy() - norm.logpdf(z) + np.log(deviation)
    np.testing.assert_allclose(found.profile.log_mass, rest, atol=0.05)


def test_a_far_out_value_is_as_strange_as_it_is_and_its_range_is_where_it_should_be(gaussian):
    encoder, density, batch = gaussian
    inputs = inputs_of(encoder.encode(batch))
    for far in (9.0, -400.0, 2e4):
        x = inputs.x.clone()
        x[:, 2] = far
        moved = replace(inputs, x=x)
        [found] = Conditionals(density, encoder, moved).of([(2, np.arange(N))])
        mean, deviation = closed_form(density, x.numpy(), 2)
        np.testing.assert_allclose(found.contrast, 0.5 * ((far - mean) / deviation) ** 2, rtol=1e-6, atol=5e-3)
        np.testing.assert_allclose((found.profile.quantile(0.05) - mean) / deviation, norm.ppf(0.05), atol=0.08)


@pytest.fixture(scope="module")
def mixed() -> tuple[Encoder, pa.RecordBatch]:
    rng = np.random.default_rng(1)
    row = np.arange(N)
    columns = {
        "size": pa.array([None if r % 10 == 3 else v for r, v in zip(row, rng.gamma(2, 3, N))], pa.float64()),
        "fee": pa.array([0.0 if r % 3 else v for r, v in zip(row, rng.gamma(2, 3, N))], pa.float64()),
        "count": pa.array((row % 7).astype(float)),
        "kind": pa.array(rng.choice(list("abcd"), N)),
        "rest": pa.array(rng.normal(size=N)),
    }
    batch = pa.record_batch({**columns, "hour": pa.array(rng.random(N)), "day": pa.array(rng.choice(["mo", "tu"], N))})
    kinds = {"count": "integer", "kind": "category"}
    features = {name: FeatureSettings(kinds.get(name, "number")) for name in columns}
    context = {"hour": ContextSettings("number"), "day": ContextSettings("category")}
    return Encoder.fit(features, context, [batch], seed=0), batch


FAMILIES = {
    "maf": {},
    "orders": {"orders": 2, "layers": 1, "transformer": "affine"},
    "realnvp": {"family": "realnvp", "layers": 2},
    "continuous": {"family": "continuous", "steps": 4},
    "gaussian": {"family": "gaussian"},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_chances_of_a_category_are_those_of_brute_force_in_every_family(mixed, family):
    encoder, batch = mixed
    density, inputs = built(encoder, **FAMILIES[family]), inputs_of(encoder.encode(batch))
    rows, column = np.arange(20), encoder.feature_names.index("kind")
    [found] = Conditionals(density, encoder, inputs).of([(column, rows)])
    joint = []
    for code in range(2, 6):
        codes = inputs.codes.clone()
        codes[:, column] = code
        with torch.no_grad():
            joint.append(density(replace(inputs, codes=codes)).log_likelihood[:20].numpy())
    brute = np.exp(joint - np.max(joint, axis=0))
    brute = brute / brute.sum(axis=0)
    order = np.argsort(found.codes[0, :4])
    np.testing.assert_allclose(found.chances[:, :4][:, order], brute.T, atol=1e-12)
    own = inputs.codes[:20, column].numpy() - 2
    wanted = np.log(brute.max(axis=0)) - np.log(brute[own, np.arange(20)])
    np.testing.assert_allclose(found.contrast, wanted, atol=1e-9)


def test_an_integer_on_few_steps_has_the_probabilities_of_brute_force(mixed):
    encoder, batch = mixed
    density = built(encoder)
    column = encoder.feature_names.index("count")
    points = pa.record_batch({**dict(zip(batch.schema.names, batch.slice(0, 1).columns)), "count": pa.array([3.0])})
    inputs = inputs_of(encoder.encode(points))
    [found] = Conditionals(density, encoder, inputs).of([(column, np.array([0]))])
    each = []
    for value in np.arange(-40.0, 60.0):
        one = encoder.encode(points.set_column(batch.schema.names.index("count"), "count", pa.array([value])))
        with torch.no_grad():
            each.append(density.log_prob(inputs_of(one)).item())
    brute = np.exp(each)
    assert np.exp(found.profile.log_mass[0]) == pytest.approx(brute.sum(), rel=0.02)
    below = brute[:43].sum() / brute.sum()
    edge = encoder.features[column].cell(np.array([3.0]))[0]
    assert found.profile.below(edge)[0] == pytest.approx(below, abs=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_atom_and_a_missing_value_have_chances_beside_the_integral_of_the_values(mixed, family):
    encoder, batch = mixed
    density, inputs = built(encoder, **FAMILIES[family]), inputs_of(encoder.encode(batch))
    for name, code in (("size", 1), ("fee", 2)):
        column = encoder.feature_names.index(name)
        [found] = Conditionals(density, encoder, inputs).of([(column, np.arange(6))], rounds=3)
        np.testing.assert_array_equal(found.codes[:, :2], [[0, code]] * 6)
        place = encoder.feature_names.index(name)
        grid = np.linspace(-30, 30, 2001)
        for row in range(6):
            one = inputs.take(torch.full((len(grid),), row))
            codes, x = one.codes.clone(), one.x.clone()
            codes[:, column], x[:, place] = 0, torch.from_numpy(grid)
            with torch.no_grad():
                value = np.trapezoid(density.log_prob(replace(one, codes=codes, x=x)).exp().numpy(), grid)
                codes[:, column] = code
                other = density.log_prob(replace(one, codes=codes, x=x)).exp()[0].item()
            assert found.chances[row, 0] == pytest.approx(value / (value + other), abs=0.02)


def test_a_mixture_with_kernel_densities_has_conditionals_too(mixed):
    from flowguard.detector.expert_fit import add_experts
    from flowguard.training import Records

    encoder, batch = mixed
    density, encoded = built(encoder, shake=0.05), encoder.encode(batch)
    inputs = inputs_of(encoded)
    records = Records(inputs, torch.from_numpy(encoded.log_det))
    add_experts(density, [records], [records], centres=100, rows=N, seed=0)
    column, rows = encoder.feature_names.index("rest"), np.arange(8)
    [found] = Conditionals(density, encoder, inputs).of([(column, rows)], rounds=3)
    grid = np.linspace(-12, 12, 2001)
    many = Conditionals(density, encoder, inputs)
    tried, _, _ = many.with_values(rows, column, np.tile(grid, (8, 1)))
    with torch.no_grad():
        logs = torch.cat(
            [density(part).log_likelihood for part in (tried.take(rows) for rows in torch.arange(8 * 2001).split(2000))]
        )
    logs = logs.numpy().reshape(8, -1)
    np.testing.assert_allclose(found.profile.log_mass, np.log(np.trapezoid(np.exp(logs), grid, axis=1)), atol=0.03)
    with torch.no_grad():
        np.testing.assert_allclose(found.contrast, logs.max(axis=1) - density.log_prob(inputs)[:8].numpy(), atol=0.02)


@pytest.mark.parametrize("name", ["size", "count", "kind"])
def test_a_record_s_bits_do_not_depend_on_what_is_explained_beside_it(mixed, name):
    encoder, batch = mixed
    density, inputs = built(encoder), inputs_of(encoder.encode(batch))
    column = encoder.feature_names.index(name)
    [together] = Conditionals(density, encoder, inputs).of([(column, np.arange(N))])
    for row in (0, 117, 299):
        alone = Conditionals(density, encoder, inputs.take(torch.tensor([row])))
        [found] = alone.of([(column, np.array([0]))])
        assert found.contrast[0] == together.contrast[row]
        np.testing.assert_array_equal(found.chances[0], together.chances[row])
        if found.profile is not None:
            assert found.profile.quantile(0.05)[0] == together.profile.quantile(0.05)[row]
            assert found.profile.mode[0] == together.profile.mode[row]


def test_absurd_missing_constant_and_lone_columns_have_finite_answers():
    values = [1.0, 2.0, 3.5, 2.2, None, 1.7] * 20
    batch = pa.record_batch({"x": pa.array(values), "same": pa.array([7.0] * 120)})
    encoder = Encoder.fit({name: FeatureSettings() for name in ("x", "same")}, {}, [batch], seed=0)
    density = built(encoder)
    odd = pa.record_batch(
        {"x": pa.array([1e300, -1e300, None, float("nan"), 2.0]), "same": pa.array([7.0, 8.0, None, 7.0, 7.0])}
    )
    inputs = inputs_of(encoder.encode(odd))
    found = Conditionals(density, encoder, inputs).of([(0, np.arange(5)), (1, np.arange(5))])
    for one in found:
        assert np.isfinite(one.contrast).all()
        assert np.isfinite(one.chances).all()
    assert (found[0].contrast[:2] > 100).all()
    assert np.isfinite(found[0].profile.quantile(0.95)).all()
    assert found[1].contrast[0] == 0 == found[1].contrast[4]
    assert (found[1].contrast[1:3] > 3).all()
    single = batch.select(["x"])
    encoder = Encoder.fit({"x": FeatureSettings()}, {}, [single], seed=0)
    [found] = Conditionals(built(encoder), encoder, inputs_of(encoder.encode(single))).of([(0, np.arange(120))])
    assert np.isfinite(found.contrast).all()


def test_of_ten_thousand_categories_the_likeliest_are_tried_and_the_observed_one():
    rng = np.random.default_rng(0)
    batch = pa.record_batch(
        {"town": pa.array([f"t{v}" for v in range(10_000)] * 2 + ["t0"] * 1000), "x": rng.normal(size=21_000)}
    )
    features = {"town": FeatureSettings("category", max_levels=10_000), "x": FeatureSettings()}
    encoder = Encoder.fit(features, {}, [batch], seed=0)
    density = built(encoder, shake=0.01)
    few = batch.slice(9_000, 3)
    [found] = Conditionals(density, encoder, inputs_of(encoder.encode(few))).of([(0, np.arange(3))])
    assert found.codes.shape == (3, LEVELS + 1)
    assert [encoder.level_of("town", int(code)) for code in found.best_code] == ["t0"] * 3
    assert (found.contrast > 5).all()


def test_an_outline_says_where_to_look(gaussian):
    encoder, _, batch = gaussian
    inputs = inputs_of(encoder.encode(batch))
    outline = Outline.fit(inputs.x.numpy(), np.zeros((N, 0)))
    off = outline.off(inputs.x.numpy(), np.zeros((N, 0)))
    means = outline.given_others(inputs.x.numpy(), off)
    assert (np.std(inputs.x.numpy() - means, axis=0) < 1.2 * outline.deviations).all()
    again = Outline.from_arrays(outline.to_arrays())
    np.testing.assert_array_equal(again.precision, outline.precision)
