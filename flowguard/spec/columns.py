"""The `columns` section: what is modelled, and what it is conditioned on: p(features | context)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from flowguard.spec.section import Name, Section, misfit

Front = Literal["standard", "robust", "quantile"]


class NumberFeature(Section):
    """A number whose density is modelled; values that repeat far more often than their neighbours get a probability."""

    kind: Literal["number"] = "number"
    """Any number: it has a density. Declare whole minutes or cents a number too, where the distance between values
    means more than which of them was met. Where the kind is not given, a feature is a number."""
    front: Front = "quantile"
    """How values are brought to scale: mean and deviation, median and quartile range, or a smooth map by
    quantiles."""
    unit: str = Field(default="", examples=["min", "EUR"])
    """Shown behind the column's values."""
    atoms: bool = True
    """Whether values that stand far out (zeros, a cap) have a probability of their own beside the density."""


class IntegerFeature(Section):
    """A whole number, or another number in equal steps, that is modelled: every value has a probability."""

    kind: Literal["integer"]
    """Numbers in equal steps, which are found from the data."""
    front: Front = "quantile"
    """As of a number."""
    unit: str = Field(default="", examples=["items"])
    """Shown behind the column's values."""


class CategoryFeature(Section):
    """One of a set of values that is modelled: every value has a probability, one never seen a small one."""

    kind: Literal["category"]
    """One of a set of values: text, booleans or whole numbers."""
    max_levels: int = Field(default=1000, ge=1, le=100_000)
    """How many of the commonest values are told apart; the others are treated as unseen."""
    unit: ClassVar[str] = ""


class BooleanFeature(Section):
    """A yes or no that is modelled."""

    kind: Literal["boolean"]
    """True or false."""
    unit: ClassVar[str] = ""


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


FeatureKind = Literal["number", "integer", "category", "boolean"]
_MODELLED = "`number`, `integer`, `category` or `boolean`"
_MEANT = {
    "cyclic": ": a cyclic column is context",
    **dict.fromkeys(("text", "string", "str", "enum", "categorical"), ": text is a `category`"),
    **dict.fromkeys(("float", "double", "decimal", "numeric"), ": any number is a `number`"),
    **dict.fromkeys(("int", "count"), ": whole numbers are an `integer`"),
    **dict.fromkeys(("bool", "flag"), ": true or false is a `boolean`"),
}


def _number_by_default(value: Any) -> Any:
    if isinstance(value, Section):
        return value
    if not isinstance(value, dict | str):
        found = "nothing" if value is None else "a list" if isinstance(value, list) else repr(value)
        raise misfit("", found, f"{_MODELLED}, or a mapping such as {{kind: number, unit: EUR}}")
    entry = {"kind": "number", **value} if isinstance(value, dict) else {"kind": value}
    kind = entry["kind"]
    if kind not in get_args(FeatureKind):
        meant = _MEANT.get(kind, "") if isinstance(kind, str) else ""
        raise misfit("kind" if isinstance(value, dict) else "", repr(kind), _MODELLED + meant)
    takers = {one: set(section.model_fields) for one, section in _SECTIONS.items()}
    for key in entry:
        others = [f"`kind: {one}`" for one, keys in takers.items() if key in keys]
        if key not in takers[kind] and others:
            said = f"no `{key}`: it belongs to {' and '.join(others)}"
            raise misfit(key, f"`{key}` with {kind}", said)
    return entry


Feature = Annotated[NumberFeature | IntegerFeature | CategoryFeature | BooleanFeature, Field(discriminator="kind")]
_SECTIONS: dict[str, type[Section]] = {
    "number": NumberFeature,
    "integer": IntegerFeature,
    "category": CategoryFeature,
    "boolean": BooleanFeature,
}
FeatureEntry = Annotated[
    Feature,
    BeforeValidator(_number_by_default, json_schema_input_type=FeatureKind | Feature),
]
ContextEntry = Annotated[
    Context,
    BeforeValidator(_kind_alone, json_schema_input_type=Literal["number", "integer", "boolean", "category"] | Context),
]


class Columns(Section):
    """Features and context, each by name. `columns: infer` leaves both to what the data looks like."""

    features: dict[Name, FeatureEntry] = Field(default_factory=dict, examples=[{"amount": "number"}])
    """The columns that are modelled. Their order is the model's: each is explained given those before it."""
    context: dict[Name, ContextEntry] = Field(default_factory=dict, examples=[{"country": "category"}])
    """The columns that the features are conditioned on."""

    @model_validator(mode="before")
    @classmethod
    def _some_features(cls, data: Any) -> Any:
        # A misspelt key is reported as such, with the nearest known one, rather than as missing features.
        if isinstance(data, dict) and not data.get("features") and set(data) <= set(cls.model_fields):
            raise misfit("features", "nothing", "at least one column, or `columns: infer` for all of them")
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
