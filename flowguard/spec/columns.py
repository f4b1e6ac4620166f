"""The `columns` section: what is modelled, and what it is conditioned on: p(features | context)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from flowguard.spec.section import Name, Section, misfit


class NumberFeature(Section):
    """A column whose density is modelled."""

    kind: Literal["number"] = "number"
    """Numbers; other kinds can only be context for now. Declare an integer column `number` too."""
    front: Literal["standard", "robust", "quantile"] = "quantile"
    """How values are brought to scale: mean and deviation, median and quartile range, or a smooth map by
    quantiles."""
    unit: str = Field(default="", examples=["min", "EUR"])
    """Shown behind the column's values."""

    @model_validator(mode="before")
    @classmethod
    def _only_numbers(cls, data: Any) -> Any:
        kind = data.get("kind") if isinstance(data, dict) else None
        if kind == "integer":
            raise misfit("kind", "'integer'", "`number`: declare an integer feature as a number")
        if kind in ("category", "boolean", "cyclic"):
            raise misfit("kind", repr(kind), f"`number`: a {kind} column can only be context for now")
        return data


class _Context(Section):
    column: Name | None = Field(default=None, examples=["created_at"])
    """The column to read, when it is not the entry's own name: one timestamp can give several entries."""


class NumberContext(_Context):
    """A number that the features depend on."""

    kind: Literal["number"]
    """Any number."""


class IntegerContext(_Context):
    """A whole number that the features depend on."""

    kind: Literal["integer"]
    """A whole number; standardised like a number."""


class BooleanContext(_Context):
    """A yes or no that the features depend on."""

    kind: Literal["boolean"]
    """True or false."""


class CategoryContext(_Context):
    """One of a set of values that the features depend on."""

    kind: Literal["category"]
    """One of a set of values, text or whole numbers."""
    max_levels: int = Field(default=1000, ge=1, le=100_000)
    """How many of the commonest values are told apart; the others are treated as unseen."""


class CyclicContext(_Context):
    """A number or a time that comes round again, such as the hour of the day."""

    kind: Literal["cyclic"]
    """A number that repeats after `period`, or the part of a timestamp named by it."""
    period: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["day", "week", "year"] = Field(
        examples=[24, "week"]
    )
    """The number after which values repeat, or `day`, `week` or `year` for a date or timestamp column."""


Context = Annotated[
    NumberContext | IntegerContext | BooleanContext | CategoryContext | CyclicContext,
    Field(discriminator="kind"),
]


def _kind_alone(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


FeatureEntry = Annotated[
    NumberFeature, BeforeValidator(_kind_alone, json_schema_input_type=Literal["number"] | NumberFeature)
]
ContextEntry = Annotated[
    Context,
    BeforeValidator(_kind_alone, json_schema_input_type=Literal["number", "integer", "boolean", "category"] | Context),
]


class Columns(Section):
    """Features and context, each by name. `columns: infer` leaves both to what the data looks like."""

    features: dict[Name, FeatureEntry] = Field(default_factory=dict, examples=[{"amount": "number"}])
    """The columns whose density is modelled. Their order is the model's: each is explained given those before
    it."""
    context: dict[Name, ContextEntry] = Field(default_factory=dict, examples=[{"country": "category"}])
    """The columns that the features are conditioned on."""

    @model_validator(mode="before")
    @classmethod
    def _some_features(cls, data: Any) -> Any:
        # A misspelt key is reported as such, with the nearest known one, rather than as missing features.
        if isinstance(data, dict) and not data.get("features") and set(data) <= set(cls.model_fields):
            raise misfit("features", "nothing", "at least one number column, or `columns: infer` for all of them")
        return data

    @model_validator(mode="after")
    def _one_role_each(self) -> Columns:
        for name, entry in self.context.items():
            column = entry.column or name
            if column in self.features:
                raise misfit(
                    ("context", name),
                    f"column {column!r}, which is a feature",
                    "a column that is not modelled: a density conditioned on its own column is no density",
                )
        return self

    @property
    def inferred(self) -> bool:
        """Whether the columns are left to the data (`columns: infer`)."""
        return not self.features
