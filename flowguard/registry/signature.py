"""What a version takes and gives, in MLflow's terms.

Inputs are declared by name, with MLflow's type `any`, and `arrival.as_declared` checks their types. MLflow's
own casts refuse ordinary deliveries of the same values, or change them (3.17.2, with pandas 3):

    double    refuses a CSV column of whole numbers (65, not 65.0)
    long      refuses a missing value; declared as double it refuses a column without one
    boolean   turns a missing value in JSON into False without a word
    datetime  refuses CSV, and any time with a time zone; declared as string it refuses a column of times
    string    refuses a CSV column with nothing in it
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

# What `predict` returns, in order; what is optional is there only where the version or the caller asks for it.
OUTPUTS = {
    "record_id": "string",
    "log_likelihood": "double",
    "log_density": "double",
    "log_mass": "double",
    "score": "double",
    "p_value": "double",
    "extrapolated": "boolean",
    "flag": "boolean",
    "refused": "string",
}

# What `predict` adds where the parameter `reasons` asks for it, a list for each record.
REASONS = ("reasons", "reason_columns")

_OPTIONAL = ("extrapolated", "refused")


def model_signature(inputs: Collection[str], *, key: Collection[str] = ()) -> Any:
    """The signature of a version that reads the raw columns `inputs`; others of `key` may be absent.

    Its one parameter, `reasons`, is how many reasons each flagged record comes with, none by default.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array

    names = list(dict.fromkeys([*inputs, *key]))
    numbers = [ColSpec(type_, name, required=name not in _OPTIONAL) for name, type_ in OUTPUTS.items()]
    told = [ColSpec(Array(DataType.string), name, required=False) for name in REASONS]
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), name, required=name in inputs) for name in names]),
        outputs=Schema(numbers + told),
        params=ParamSchema([ParamSpec("reasons", DataType.long, 0)]),
    )


def description(inputs: Mapping[str, str], *, key: Collection[str] = ()) -> str:
    """The version's text in MLflow's pages: the columns with the types that are checked.

    >>> print(description({"air_time": "double"}))
    Reads these columns; any of them may hold missing values.
    <BLANKLINE>
    | column | type |
    |---|---|
    | air_time | double |
    """
    rows = [f"| {name} | {text} |" for name, text in inputs.items()]
    rows += [f"| {name} | identifies the record; may be absent |" for name in key if name not in inputs]
    intro = "Reads these columns; any of them may hold missing values."
    return "\n".join([intro, "", "| column | type |", "|---|---|", *rows])
