from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from flowguard.density import RecordDensity
from flowguard.detector.evaluate import inputs_of
from flowguard.encoding import Encoder, FeatureSettings
from flowguard.explain.conditional import Conditional
from flowguard.explain.named import bests, named, show
from flowguard.explain.replaced import Conditionals

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
    encoder, _ = fitted
    batch = table(**{column: values})
    raw = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    return saying(fitted, batch, raw)(np.arange(len(values)), encoder.feature_names.index(column))


def saying(fitted, batch, raw):
    encoder, density = fitted
    inputs = inputs_of(encoder.encode(batch))
    given = Conditionals(density, encoder, inputs)
    columns = density.discrete.columns
    return named(columns, encoder, inputs.codes.numpy(), raw, UNITS, lambda rows, c: given.of([(c, rows)])[0])


def words(fitted, column, value):
    [found] = cells(fitted, column, [value])
    return found.words


def near(found, said, within=8):
    """The same words, with percentages that differ by less: given the rest they are not quite those of the fit."""
    numbers = [[float(n) for n in re.findall(r"([\d.]+) %", text)] for text in (found, said)]
    assert re.sub(r"[\d.]+ %", "%", found) == re.sub(r"[\d.]+ %", "%", said)
    assert numbers[0] == pytest.approx(numbers[1], abs=within)


def test_a_level_reads_with_its_own_probability_and_the_likeliest_other(fitted):
    near(words(fitted, "protocol", "udp"), "protocol udp in 25 % of such records; tcp in 75 %")
    near(words(fitted, "protocol", "tcp"), "protocol tcp in 75 % of such records")
    near(words(fitted, "secure", False), "secure false in 25 % of such records; true in 75 %")


def test_the_probabilities_are_those_of_the_density_given_the_whole_rest(fitted):
    encoder, density = fitted
    inputs = inputs_of(encoder.encode(table(protocol=["udp"]))).take(torch.tensor([0, 0]))
    inputs.codes[:, 0] = torch.tensor([2, 3])
    with torch.no_grad():
        chance = density.log_prob(inputs).softmax(0)
    udp = [encoder.level_of("protocol", code) for code in (2, 3)].index("udp")
    assert words(fitted, "protocol", "udp").startswith(f"protocol udp in {100 * float(chance[udp]):.0f} %")


def test_a_level_never_seen_and_a_value_never_missing_before_say_so(fitted):
    near(words(fitted, "protocol", "icmp"), "protocol icmp was never seen in training; tcp in 75 % of such records")
    assert words(fitted, "protocol", None) == "protocol is missing, which it never was in training"
    assert words(fitted, "count", None) == "count is missing, which it never was in training"


def test_a_level_beyond_the_commonest_does_not_claim_to_be_new(fitted):
    said = words(fitted, "port", 20_001)
    near(said, "port 20001 is none of the common ones; one like it in 33 % of such records; 8080 in 50 %")


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


@pytest.mark.parametrize(("column", "value"), [("count", 3.0), ("count", 70.0)])
def test_plain_values_where_nothing_else_ever_occurred_are_left_to_the_range(fitted, column, value):
    assert cells(fitted, column, [value]) == [None]


def test_a_record_reads_the_same_whoever_was_flagged_beside_it(fitted):
    values = (["udp", "tcp", "icmp", None] * 18)[:71]
    together = cells(fitted, "protocol", values)
    assert len(together) == len(values)
    batch = table(protocol=values)
    raw = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    say = saying(fitted, batch, raw)
    assert [say(np.array([row]), 0)[0] for row in range(len(values))] == together
    assert say(np.array([], dtype=np.intp), 0) == []


def chances(codes, of):
    """A conditional of one record with these probabilities; its own code is the first."""
    logs = np.log(np.array([of]))
    return Conditional(np.array([codes]), logs, np.array([0]), None, np.full(1, np.nan), np.full(1, np.nan))


def test_a_likely_missing_value_is_what_was_expected(fitted):
    encoder, _ = fitted
    column = SimpleNamespace(kind="category", counts=(0, 90, 10))
    given = chances([2, 1], [0.1, 0.9])
    codes = np.array([[2]])
    [cell] = named([column], encoder, codes, {"protocol": ["tcp"]}, {}, lambda rows, c: given)(np.array([0]), 0)
    assert cell.words == "protocol tcp in 10 % of such records; missing in 90 %"


def test_a_number_missing_or_there_says_how_often_it_is_missing(fitted):
    encoder, density = fitted
    place, raw = encoder.feature_names.index("size"), {"size": [None]}
    codes = np.zeros((1, len(encoder.feature_names)), dtype=np.int64)
    codes[0, place] = 1
    say = named(density.discrete.columns, encoder, codes, raw, {}, lambda rows, c: chances([1, 0], [0.03, 0.97]))
    assert say(np.array([0]), place)[0].words == "size is missing; observed in 97 % of such records"
    codes[0, place] = 0
    say = named(density.discrete.columns, encoder, codes, {"size": [3.5]}, {}, lambda r, c: chances([0, 1], [0.1, 0.9]))
    assert say(np.array([0]), place)[0].usual == ("missing", pytest.approx(0.9))


def test_the_best_value_reads_as_people_write_it(fitted):
    encoder, density = fitted
    code = {"protocol": 2, "fee": 2, "size": 1, "count": 0, "port": 0}
    value = {"count": 4.0}
    for name, text in (("protocol", "tcp"), ("fee", "0 EUR"), ("size", "missing"), ("count", "4"), ("port", "another")):
        answers = SimpleNamespace(best=lambda rows, column, name=name: [(code[name], value.get(name))])
        [best] = bests(encoder, density.discrete.columns, answers, UNITS)(
            np.array([0]), encoder.feature_names.index(name)
        )
        assert best.text == text
        assert best.value == {"fee": 0.0, "count": 4.0}.get(name)


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
