from __future__ import annotations

import pyarrow as pa
import pytest

from flowguard.errors import SchemaError
from flowguard.tables import Wanted, check_columns
from flowguard.tables.schema import serves

SCHEMA = pa.schema({"amount": pa.float64(), "city": pa.dictionary(pa.int32(), pa.string()), "t": pa.string()})


def test_columns_that_fit_pass():
    uses = [("amount", "number", "a"), ("amount", "key", "b"), ("city", "category", "c"), ("t", "any", "d")]
    check_columns(SCHEMA, Wanted.gather(uses), where="data")


def test_every_problem_is_told_with_who_needs_the_column():
    uses = [("amont", "number", "columns.features.amont"), ("t", "clock", "source.time"), ("city", "number", "x")]
    with pytest.raises(SchemaError) as caught:
        check_columns(SCHEMA, Wanted.gather(uses), where="data/x.parquet")
    first, *lines = str(caught.value).splitlines()
    assert first == "data/x.parquet does not fit in 3 ways:"
    assert lines[0] == "column 'amont' (needed by columns.features.amont) is missing; did you mean 'amount'?"
    assert lines[1] == "column 't' (needed by source.time) is string; expected a date or a timestamp."
    assert "'city' (needed by x) is dictionary" in lines[2]


def test_one_problem_is_one_line():
    with pytest.raises(SchemaError, match=r"^data: column 'zzz' is missing; it has amount, city, t\.$"):
        check_columns(SCHEMA, {"zzz": Wanted(("any",))}, where="data")


@pytest.mark.parametrize(
    ("kind", "roles"),
    [
        (pa.int8(), "number integer category key any"),
        (pa.float32(), "number integer key any"),
        (pa.decimal128(5, 2), "number integer key any"),
        (pa.bool_(), "boolean category key any"),
        (pa.large_string(), "category key any"),
        (pa.date32(), "clock key any"),
        (pa.timestamp("ns", "UTC"), "clock key any"),
        (pa.duration("s"), "key any"),
        (pa.list_(pa.int64()), "any"),
        (pa.null(), "number integer boolean category clock key any"),
    ],
)
def test_a_type_serves_as_what_it_can_hold(kind, roles):
    every = ["number", "integer", "boolean", "category", "clock", "key", "any"]
    assert [role for role in every if serves(kind, role)] == roles.split()
