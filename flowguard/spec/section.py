"""What every section of a pipeline file shares: frozen, strict, and no unknown keys."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping of the pipeline file. Values are not coerced: `layers: "3"` is an error, not three."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


def misfit(key: str | tuple[str, ...], found: str, expected: str) -> PydanticCustomError:
    """A fault of a whole section, shown at its `key` ("" for the section itself)."""
    path = key if isinstance(key, tuple) else (key,) if key else ()
    return PydanticCustomError(
        "misfit", "found {found}; expected {expected}", {"key": path, "found": found, "expected": expected}
    )


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in value if value.count(name) > 1})
    if twice:
        raise misfit("", f"{', '.join(map(repr, twice))} listed twice", "each name once")
    return value


def _date(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            return value
    return value


Name = Annotated[str, Field(min_length=1)]
# A single name may stand without brackets: `key: order_id`.
Names = Annotated[
    tuple[Name, ...],
    Field(strict=False),
    BeforeValidator(_names, json_schema_input_type=str | list[str]),
]
Day = Annotated[dt.date, BeforeValidator(_date, json_schema_input_type=dt.date)]
