from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from flowguard.density import RecordDensity
from flowguard.detector.evaluate import inputs_of
from flowguard.encoding import Encoder, FeatureSettings
from flowguard.explain.named import TILE, named, show

N = 400
UNITS = {"fee": "EUR"}
FEATURES = {
    "protocol": FeatureSettings("category"),
    "port": FeatureSettings("category", max_levels=2),
    "secure": FeatureSettings("category"),
    "count": FeatureSettings("integer"),
    "tens": FeatureSettings("integer"),
    "fee": FeatureSettings("number"),
    "size": FeatureSettings("number"),
}


def table(**changes) -> pa.RecordBatch:
    """Traffic: protocol tcp in 3 of 4, fee 0 in 3 of 4 and missing in some, size a plain number."""
    rng = np.random.default_rng(0)
    row = np.arange(N)
    columns = {
        "protocol": np.where(row % 4 == 0, "udp", "tcp").tolist(),
        "port": np.where(row % 2 == 0, 8080, np.where(row % 3 == 0, 443, 20_000 + row)).tolist(),
        "secure": (row % 4 > 0).tolist(),
        "count": (row % 9).astype(float).tolist(),
        "tens": (10.0 * (row % 7) + 5).tolist(),
        "fee": [None if r % 40 == 1 else 0.0 if r % 4 else float(v) for r, v in zip(row, rng.gamma(2, 3, N))],
        "size": [None if r % 10 == 3 else float(v) for r, v in zip(row, rng.normal(0, 1, N))],
    }
    for name, values in changes.items():
        columns[name][: len(values)] = values
    types = {"protocol": pa.string(), "port": pa.int64(), "secure": pa.bool_()}
    return pa.record_batch({name: pa.array(v, types.get(name, pa.float64())) for name, v in columns.items()})


@pytest.fixture(scope="module")
def fitted() -> tuple[Encoder, RecordDensity]:
    encoder = Encoder.fit(FEATURES, {}, [table()], seed=0)
    config = {"family": "maf", "layers": 1, "hidden": [8], "columns": encoder.density_columns(), "numeric": 0}
    # Untrained, its probabilities are the frequencies of the fit.
    return encoder, RecordDensity.build(config | {"cardinalities": [], "seed": 0}).double().eval()


def cells(fitted, column, values):
    """How the first records read whose column has these values."""
    encoder, density = fitted
    batch = table(**{column: values})
    raw = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    say = named(density, encoder, inputs_of(encoder.encode(batch)), raw, UNITS)
    return say(np.arange(len(values)), encoder.feature_names.index(column))


def words(fitted, column, value):
    [found] = cells(fitted, column, [value])
    return found.words


def test_a_level_reads_with_its_own_probability_and_the_likeliest_other(fitted):
    assert words(fitted, "protocol", "udp") == "protocol udp in 25 % of such records; tcp in 75 %"
    assert words(fitted, "protocol", "tcp") == "protocol tcp in 75 % of such records"
    assert words(fitted, "secure", False).startswith("secure false in 2")


def test_the_probabilities_are_those_of_the_density(fitted):
    encoder, density = fitted
    inputs = inputs_of(encoder.encode(table(protocol=["udp"])))
    chance = density.code_log_probs(inputs.take(torch.tensor([0])), 0).detach().exp()[0]
    code = int(inputs.codes[0, 0])
    assert float(chance.sum()) == pytest.approx(1)
    assert words(fitted, "protocol", "udp").startswith(f"protocol udp in {100 * float(chance[code]):.0f} %")


def test_a_level_never_seen_and_a_value_never_missing_before_say_so(fitted):
    assert words(fitted, "protocol", "icmp") == "protocol icmp was never seen in training; tcp in 75 % of such records"
    assert words(fitted, "protocol", None) == "protocol is missing, which it never was in training"
    assert words(fitted, "count", None) == "count is missing, which it never was in training"


def test_a_level_beyond_the_commonest_does_not_claim_to_be_new(fitted):
    said = words(fitted, "port", 20_001)
    assert said == "port 20001 is none of the common ones; one like it in 33 % of such records; 8080 in 50 %"


def test_an_atom_reads_as_a_level_and_what_is_usual_beside_it_only_where_that_is_so(fitted):
    assert words(fitted, "fee", 0.0).startswith("fee 0 EUR in 7")
    [cell] = cells(fitted, "fee", [3.5])
    assert (cell.text, cell.words) == ("3.5 EUR", "")
    assert cell.usual is not None
    assert cell.usual[0] == "0 EUR"
    assert cell.usual[1] == pytest.approx(0.725, abs=0.03)


def test_a_number_off_its_lattice_says_what_was_expected(fitted):
    assert words(fitted, "count", 2.5) == "count 2.5; a whole number expected"
    assert words(fitted, "tens", 12.0) == "tens 12; steps of 10 expected"


@pytest.mark.parametrize(("column", "value"), [("count", 3.0), ("count", 70.0), ("size", 0.5), ("size", None)])
def test_plain_values_and_what_was_missing_before_are_left_to_the_range(fitted, column, value):
    assert cells(fitted, column, [value]) == [None]


def test_a_record_reads_the_same_whoever_was_flagged_beside_it(fitted):
    values = (["udp", "tcp", "icmp", None] * TILE)[: TILE + 7]
    together = cells(fitted, "protocol", values)
    assert len(together) == len(values)
    encoder, density = fitted
    batch = table(protocol=values)
    raw = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    say = named(density, encoder, inputs_of(encoder.encode(batch)), raw, UNITS)
    assert [say(np.array([row]), 0)[0] for row in range(len(values))] == together
    assert say(np.array([], dtype=np.intp), 0) == []


def test_a_likely_missing_value_is_what_was_expected(fitted):
    encoder, _ = fitted
    column = SimpleNamespace(kind="category", counts=(0, 90, 10))
    density = SimpleNamespace(
        discrete=SimpleNamespace(columns=[column]),
        code_log_probs=lambda inputs, column: torch.tensor([[0.0, 0.9, 0.1]]).log().expand(TILE, -1),
    )
    inputs = inputs_of(encoder.encode(table(protocol=["tcp"])))
    [cell] = named(density, encoder, inputs, {"protocol": ["tcp"]}, {})(np.array([0]), 0)
    assert cell.words == "protocol tcp in 10 % of such records; missing in 90 %"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        ("tcp", None, "tcp"),
        ("x" * 41, None, "x" * 39 + "…"),
        ("x" * 40, None, "x" * 40),
        ("", None, '""'),
        ("missing", None, '"missing"'),
        ("a\u202eb\x1b[2J", None, "a[U+202E]b[U+001B][2J"),
        (None, "EUR", "missing"),
        (float("nan"), None, "missing"),
        (False, None, "false"),
        (12345, None, "12,345"),
        (0.0, "EUR", "0 EUR"),
    ],
)
def test_a_value_reads_as_people_write_it(value, unit, text):
    assert show(value, unit) == text


def test_the_digits_of_a_code_are_not_parted():
    assert (show(12345, as_is=True), show(12345.0, as_is=True), show(1.5, as_is=True)) == ("12345", "12345", "1.5")
    assert show(12345.0, "EUR", as_is=True) == "12,345 EUR", "with a unit it is a quantity"
