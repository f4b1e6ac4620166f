from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from flowguard.density import Inputs, RecordDensity
from flowguard.encoding import Encoder, FeatureSettings
from flowguard.explain.ranges import expected_range, ranges_of
from flowguard.explain.shares import Baseline, column_terms

CONFIG = {
    "columns": [{"kind": "number", "counts": counts} for counts in ([500, 0], [400, 100], [350, 150])],
    "numeric": 2,
    "cardinalities": [4],
    "layers": 2,
    "hidden": [16],
}


class Minutes:
    """A decoder of known scale: the second column is in seconds, the others are as they are."""

    feature_names = ("a", "b", "c")

    def decode(self, name, x):
        return 60.0 * x + 5.0 if name == "b" else x


@pytest.fixture(scope="module")
def density() -> RecordDensity:
    built = RecordDensity.build(CONFIG).double().eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():  # away from the identity that a flow may start from
        for parameter in built.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return built


def sampled(density: RecordDensity, n: int, *, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    context = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    levels = torch.randint(0, 4, (n, 1), generator=generator)
    return density.sample(context, levels, generator=generator)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_nine_of_ten_values_drawn_from_the_density_lie_in_their_range(density, column):
    inputs = sampled(density, 3000)
    low, high = expected_range(density, Minutes(), inputs, column)
    value = Minutes().decode("abc"[column], inputs.x[:, column].numpy())
    there = (inputs.codes[:, column] == 0).numpy()
    covered = ((value >= low) & (value <= high))[there].mean()
    assert there.sum() > 500
    assert covered == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / there.sum()))


def test_a_range_does_not_look_at_the_value_it_judges_nor_at_later_columns(density):
    inputs = sampled(density, 20)
    changed = inputs.x.clone()
    changed[:, 1:] += 50.0
    other = replace(inputs, x=changed)
    for ours, theirs in zip(
        expected_range(density, Minutes(), inputs, 1),
        expected_range(density, Minutes(), other, 1),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_wider_level_gives_a_wider_range(density):
    inputs = sampled(density, 50)
    low, high = expected_range(density, Minutes(), inputs, 1, level=0.5)
    lower, higher = expected_range(density, Minutes(), inputs, 1, level=0.99)
    assert (lower < low).all()
    assert (high < higher).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        expected_range(density, Minutes(), inputs, 1, level=90)


def test_a_missing_value_has_a_range_too(density):
    inputs = sampled(density, 5)
    none = replace(inputs, x=torch.zeros_like(inputs.x), codes=torch.ones_like(inputs.codes))
    low, high = expected_range(density, Minutes(), none, 2)
    assert np.isfinite(low).all()
    assert (low < high).all()


def test_a_record_s_range_has_the_same_bits_whatever_was_flagged_beside_it(density):
    inputs = sampled(density, 150)
    together = ranges_of(density, Minutes(), inputs)(np.arange(150), 2)
    alone = ranges_of(density, Minutes(), inputs)(np.array([117]), 2)
    assert together[0][117] == alone[0][0]
    assert together[1][117] == alone[1][0]
    np.testing.assert_allclose(together, expected_range(density, Minutes(), inputs, 2), rtol=1e-9)


def test_a_family_without_one_column_order_is_refused():
    density = RecordDensity.build(CONFIG | {"family": "realnvp"}).double()
    inputs = Inputs.plain(torch.zeros(1, 3, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64))
    inputs = replace(inputs, levels=torch.zeros(1, 1, dtype=torch.long))
    with pytest.raises(TypeError, match="one column order"):
        expected_range(density, Minutes(), inputs, 0)


def test_shares_and_baseline_give_the_exact_log_likelihood_in_the_table_s_units(density):
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "a": rng.normal(100, 20, 400),
            "b": np.where(rng.random(400) < 0.3, np.nan, rng.gamma(2, 30, 400)),
            "c": np.where(rng.random(400) < 0.1, np.nan, rng.normal(0, 1e-3, 400)),
        }
    )
    [batch] = table.to_batches()
    encoder = Encoder.fit({name: FeatureSettings(front="robust") for name in "abc"}, {}, [batch], seed=0)
    encoded = encoder.encode(batch)
    given = sampled(density, 400)
    inputs = replace(given, x=torch.from_numpy(encoded.x), codes=torch.from_numpy(encoded.codes))
    with torch.no_grad():
        parts = density(inputs)
    terms = column_terms(parts.mass_terms.numpy(), parts.density_terms.numpy(), encoded.log_det)
    pattern = np.array(["".join(str(int(o)) for o in row) for row in encoded.observed])
    shares, rest = Baseline.fit(terms[:200], pattern[:200]).shares(terms, pattern)
    log_likelihood = parts.log_mass.numpy() + parts.log_density.numpy() + encoded.log_det.sum(axis=1)
    np.testing.assert_allclose(shares.sum(axis=1) + rest, -log_likelihood, atol=1e-9, rtol=0)
    low, high = expected_range(density, encoder, inputs, 0)
    assert ((low < high) & (low > -100) & (high < 400)).all()
