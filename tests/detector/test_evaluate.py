"""A record's numbers are its own: the same bits alone, anywhere in any batch, in any tile."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from flowguard.density import RecordDensity
from flowguard.detector import Detector, Evaluation
from flowguard.detector.evaluate import ROWS, evaluate, pattern_of, refusals, tiles
from flowguard.encoding import Encoded
from tests.detector.sample import fitted, table

FAMILIES: list[dict[str, Any]] = [
    # 65 and 67 inputs, an odd width: what made the bits depend on a record's place before.
    {"family": "maf", "layers": 2, "hidden": [17], "bins": 4, "embedding_width": 63},
    {"family": "maf", "transformer": "affine", "layers": 2, "hidden": [10, 10]},
    {"family": "maf", "order": "alternate", "layers": 2, "hidden": [64, 64]},
    {"family": "realnvp", "layers": 2, "hidden": [33]},
    {"family": "maf", "transformer": "mixture", "components": 5, "layers": 1, "hidden": [17]},
    {"family": "realnvp", "layers": 2, "mixing": "lu", "hidden": [17]},
    {"family": "gaussian", "embedding_width": 63},
    {"family": "maf", "orders": 3, "layers": 1, "hidden": [17], "bins": 4},
]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return fitted(table(800, 1), epochs=1)


@pytest.fixture(scope="module")
def encoded(detector: Detector) -> Encoded:
    return detector.encode(table(300, 2))


def stirred(detector: Detector, family: dict[str, Any]) -> RecordDensity:
    """Another density over the same columns, with weights as large as training makes them."""
    shape = {name: detector.density.config[name] for name in ("columns", "numeric", "cardinalities")}
    if "mixing" in family:  # which needs numbers that are never missing
        shape["columns"] = [{"kind": "number", "counts": [sum(c["counts"]), 0]} for c in shape["columns"]]
    density = RecordDensity.build(shape | family)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return density.double().eval()


def bits(found: Evaluation) -> np.ndarray:
    terms = np.zeros((len(found.log_mass), 0)) if found.density_terms is None else found.density_terms
    return np.column_stack([found.log_mass, found.log_density, found.mass_terms, terms])


@pytest.mark.parametrize(
    "family", FAMILIES, ids=["spline", "affine", "alternate", "realnvp", "mixture", "mixing", "gaussian", "orders"]
)
@pytest.mark.parametrize("tile", [1, 7, 100, 256, 1024])
def test_a_record_has_the_same_bits_alone_and_anywhere_in_a_batch(
    detector: Detector, encoded: Encoded, family: dict[str, Any], tile: int
) -> None:
    density = stirred(detector, family)

    def numbers(part: Encoded) -> np.ndarray:
        return bits(evaluate(density, part, tile=tile, threads=1))

    whole = numbers(encoded)
    assert np.isfinite(whole).all()
    random = np.random.default_rng(0)
    for _ in range(3 if tile > 1 else 1):
        order = random.permutation(300)
        assert np.array_equal(numbers(encoded.take(order)), whole[order])
    for row in (0, 6, 7, 99, 299):
        assert np.array_equal(numbers(encoded.take(np.array([row])))[0], whole[row])
    # Other mates, however strange.
    beside = encoded.take(np.array([150, 3, 3]))
    beside.x[1:] = 1e6
    assert np.array_equal(numbers(beside)[0], whole[150])


def test_encoding_does_not_depend_on_the_place_in_the_batch(detector: Detector) -> None:
    records = table(300, 2)
    whole = detector.encode(records)
    order = np.random.default_rng(1).permutation(300)
    apart = detector.encode(records.take(pa.array(order)))
    for name in ("x", "codes", "log_det", "context", "levels"):
        assert np.array_equal(getattr(apart, name), getattr(whole, name)[order])
        assert np.array_equal(getattr(detector.encode(records.slice(77, 1)), name), getattr(whole, name)[77:78])


def test_threads_of_the_process_are_left_as_they_were(detector: Detector, encoded: Encoded) -> None:
    before = torch.get_num_threads()
    first, second = (bits(evaluate(detector.density, encoded, tile=64, threads=1)) for _ in range(2))
    assert np.array_equal(first, second)
    assert torch.get_num_threads() == before


def test_tiles_hold_every_record_once_and_have_one_shape(encoded: Encoded) -> None:
    for tile in (1, 16, 17, 1000):
        rows = []
        for place, inputs in tiles(encoded, tile):
            assert {len(getattr(inputs, field.name)) for field in fields(inputs)} == {-(-tile // ROWS) * ROWS}
            rows.append(inputs.x[: place.stop - place.start].numpy())
        assert np.array_equal(np.concatenate(rows), encoded.x)


def test_terms_of_several_orders_have_a_column_of_their_own_and_sum_to_the_surprise(
    detector: Detector, encoded: Encoded
) -> None:
    found = evaluate(stirred(detector, FAMILIES[-1]), encoded, tile=64, threads=1)
    assert found.ensemble is not None
    assert found.density_terms is not None
    assert found.terms is not None
    assert found.terms.shape == (300, 3)
    assert ((found.ensemble <= 0) & (found.ensemble >= -np.log(3) - 1e-12)).all()
    assert np.abs(found.density_terms.sum(axis=1) + found.ensemble - found.log_density).max() < 1e-9
    assert np.abs(found.terms.sum(axis=1) + found.log_likelihood).max() < 1e-9


def test_no_records_are_evaluated_to_nothing(detector: Detector, encoded: Encoded) -> None:
    found = detector.evaluate(encoded.take(np.zeros(0, dtype=np.intp)))
    assert len(found.log_likelihood) == len(found.pattern) == 0


def test_patterns_write_which_numbers_have_a_density(encoded: Encoded) -> None:
    assert pattern_of(encoded.codes, encoded.numbers)[np.flatnonzero(~encoded.observed[:, 1])[0]] == "10"
    codes = np.array([[0, 5, 0, 2], [3, 1, 1, 0]])
    assert pattern_of(codes, (0, 3)).tolist() == ["1222", "2221"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_likelihood_that_is_no_number_is_refused_never_ordinary(
    detector: Detector, encoded: Encoded, value: float
) -> None:
    part = encoded.take(np.arange(4))
    found = detector.evaluate(part)
    density = found.log_density.copy()
    density[1], density[2] = value, -np.inf
    refused = replace(part, refused=["power is infinite", None, None, None])
    assert refusals(refused, replace(found, log_density=density)) == [
        "power is infinite",
        "its likelihood is no number",
        None,
        None,
    ]


def test_the_terms_add_up_to_the_likelihood(detector: Detector, encoded: Encoded) -> None:
    found = detector.evaluate(encoded)
    assert found.terms is not None
    assert np.abs(found.terms.sum(axis=1) + found.log_likelihood).max() < 1e-9
    assert np.array_equal(found.log_likelihood, found.log_mass + found.log_density)
