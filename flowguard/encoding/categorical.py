"""Features of kind category: a probability for each level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowguard.encoding.category import MISSING, Category, CategoryFit, Level
from flowguard.encoding.feature import Coded, Feature, own_place
from flowguard.encoding.number import NumberFit, read_numbers

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CategoryFeature(Feature):
    """A category: code 0 was not seen at the fit, 1 is missing, 2.. are its levels, the commonest first.

    `novel` is the probability that a record has a level never seen, (levels that occurred exactly once + 1) / (rows +
    2): Good, "The population frequencies of species", Biometrika 40 (1953), with Turing's estimate. Levels beyond the
    commonest `max_levels` count as code 0. `from_number`: the column was declared a number but has one or two values,
    so it is read as numbers are, in float64.
    """

    category: Category
    novel: float
    from_number: bool
    kind = "category"

    def encode(self, array: pa.Array, dither: np.random.Generator | None) -> Coded:
        if self.from_number:
            array = pa.array(read_numbers(array, column=self.column))
        codes, infinite = self.category.read(array)
        if infinite is not None:
            codes[infinite] = MISSING
        return Coded(codes, None, None, infinite)

    def decode(self, x: Array) -> Array:
        raise KeyError(f"{self.name} is a category, which has no encoded value; level_of tells what a code stands for")

    def level_of(self, code: int) -> Level | None:
        place = own_place(self, code)
        return None if place is None else self.category.levels[place]

    def density_column(self) -> dict[str, Any]:
        return {**super().density_column(), "novel": self.novel}

    def to_dict(self) -> dict[str, Any]:
        own = {"family": self.category.family, "levels": list(self.category.levels)}
        return {**super().to_dict(), **own, "novel": self.novel, "from_number": self.from_number}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> CategoryFeature:
        common = (state["name"], state["column"], tuple(state["counts"]))
        return cls(*common, Category.from_dict(state), state["novel"], state["from_number"])


def category_feature(fit: CategoryFit, notices: list[str]) -> CategoryFeature | None:
    """The category that a pass has learned; None, with a notice, where it has no value in any record."""
    category = fit.learned("feature", notices)
    if category is None:
        return None
    known = [count for _, count in fit.ranked()]
    counts = (fit.observed - sum(known), fit.missing, *known)
    novel = (fit.once + 1) / (sum(counts) + 2)
    return CategoryFeature(fit.name, fit.column, counts, category, novel, False)


def levels_of_number(fit: NumberFit, column: str, counts: dict[float, int], notices: list[str]) -> CategoryFeature:
    """A number with one or two values in all records, as a category of these: any other value is unseen, not near."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    levels = tuple(int(value) if value.is_integer() and abs(value) < 2**53 else value for value, _ in ranked)
    told = " and ".join(map(str, levels))
    notices.append(
        f"{fit.name}: it has the {'one value' if len(levels) == 1 else 'two values'} {told} in every record where it "
        "has any, and is modelled as a category"
    )
    rows = (0, fit.missing, *(count for _, count in ranked))
    once = sum(count == 1 for count in counts.values())
    category = Category(column, "number", levels)
    return CategoryFeature(fit.name, column, rows, category, (once + 1) / (sum(rows) + 2), True)
