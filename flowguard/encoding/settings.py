"""How a column is to be encoded, as the pipeline file says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from flowguard.errors import InputError

FrontKind = Literal["standard", "robust", "quantile"]
FeatureKind = Literal["number", "integer", "category"]
ContextKind = Literal["number", "integer", "boolean", "category", "cyclic"]
CALENDAR = ("day", "week", "year")


@dataclass(frozen=True)
class FeatureSettings:
    """A column whose density or probability is modelled. `column` is the raw column when it has another name.

    `front` is for numbers and integers; `atoms`, for numbers, gives values that repeat far more often than their
    neighbours a probability of their own; `max_levels`, for categories, tells the commonest so many apart. A boolean
    is a category.

    >>> FeatureSettings("category", column="carrier").max_levels
    1000
    """

    kind: FeatureKind = "number"
    front: FrontKind = "quantile"
    column: str | None = None
    atoms: bool = True
    max_levels: int = 1000

    def __post_init__(self) -> None:
        if self.kind not in get_args(FeatureKind):
            raise InputError(f"kind is {self.kind!r}; expected one of {', '.join(get_args(FeatureKind))}")
        if self.front not in get_args(FrontKind):
            raise InputError(f"front is {self.front!r}; expected one of {', '.join(get_args(FrontKind))}")
        if self.max_levels < 1:
            raise InputError(f"max_levels is {self.max_levels}; expected at least 1")


@dataclass(frozen=True)
class ContextSettings:
    """A column that the density is conditioned on. `column` is the raw column when it has another name.

    `period` is for cyclic columns alone: a number in the column's own units (seconds for a duration), or
    "day", "week" or "year" of a date, time or timestamp. `max_levels` is for categories: the commonest so
    many are told apart.

    >>> ContextSettings("cyclic", column="departure", period="day").period
    'day'
    """

    kind: ContextKind
    column: str | None = None
    period: float | str | None = None
    max_levels: int = 1000

    def __post_init__(self) -> None:
        if self.kind not in get_args(ContextKind):
            raise InputError(f"kind is {self.kind!r}; expected one of {', '.join(get_args(ContextKind))}")
        if self.kind == "cyclic":
            named = isinstance(self.period, str) and self.period in CALENDAR
            number = isinstance(self.period, (int, float)) and 0 < self.period < float("inf")
            if not (named or number):
                raise InputError(
                    f"a cyclic column has period {self.period!r}; "
                    f"expected a positive number or one of {', '.join(CALENDAR)}"
                )
        elif self.period is not None:
            raise InputError(f"period {self.period!r} is given for a {self.kind} column; only cyclic columns have one")
        if self.max_levels < 1:
            raise InputError(f"max_levels is {self.max_levels}; expected at least 1")
