"""Categories: levels by frequency, code 0 for unseen, 1 for missing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowguard.encoding.number import wrong_type
from flowguard.errors import SchemaError

Level = str | int | float | bool

UNSEEN, MISSING, FIRST = 0, 1, 2

TRACKED = 1_000_000
"""Distinct values counted at once while fitting; beyond it the rarest half is forgotten (bounded memory)."""

_EXPECTED = {"text": "text", "number": "integers, floats or decimals", "boolean": "booleans"}


def family(kind: pa.DataType) -> str | None:
    """Which values compare: "text", "number", "boolean"; "null" for nulls alone; None for other types."""
    if pa.types.is_dictionary(kind):
        return family(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    return "null" if pa.types.is_null(kind) else None


def read_levels(array: pa.Array, *, column: str, expected: str | None) -> tuple[list[Level | None], NDArray[np.int64]]:
    """Distinct values and each row's index among them, -1 where it is missing.

    A number is known by its value: 3 and 3.0 and decimal 3.00 are one level, text "3" and true are others.
    Raises `SchemaError` when the type cannot be a category, or is of another family than `expected`.
    """
    kind = family(array.type)
    if kind is None:
        raise wrong_type(column, array.type, "text, integers, booleans or another type of category")
    if kind == "null":
        return [], np.full(len(array), -1, dtype=np.int64)
    if expected is not None and kind != expected:
        raise wrong_type(column, array.type, f"{_EXPECTED[expected]}, as it was at training")
    if not pa.types.is_dictionary(array.type):
        if pa.types.is_decimal(array.type):
            array = pc.cast(array, pa.float64(), safe=False)
        elif pa.types.is_string_view(array.type):
            array = array.cast(pa.large_string())
        array = array.dictionary_encode()
    indices = pc.fill_null(pc.cast(array.indices, pa.int64()), -1).to_numpy(zero_copy_only=False)
    return [_level(value) for value in array.dictionary.to_pylist()], indices


def _level(value: Any) -> Level | None:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    number = float(value)
    if math.isnan(number):
        return None
    # Equal numbers are one key of a dict whatever their type; a whole one reads better without its point.
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


@dataclass(frozen=True, eq=False)
class Category:
    """A fitted category: its levels, the commonest first, and the family of its values."""

    column: str
    family: str
    levels: tuple[Level, ...]

    @property
    def cardinality(self) -> int:
        """Number of codes, the two reserved ones included."""
        return FIRST + len(self.levels)

    @cached_property
    def _codes(self) -> dict[Level, int]:
        return {level: FIRST + place for place, level in enumerate(self.levels)}

    def codes(self, array: pa.Array) -> NDArray[np.int64]:
        """Each row's code: 0 unseen, 1 missing, 2.. the levels."""
        return self.read(array)[0]

    def read(self, array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
        """Each row's code, and which rows are infinite numbers (unseen ones), None for none."""
        values, indices = read_levels(array, column=self.column, expected=self.family)
        known = self._codes
        table = [MISSING if value is None else known.get(value, UNSEEN) for value in values]
        codes = np.array([*table, MISSING], dtype=np.int64)[indices]  # index -1 is the last one
        odd = np.array([*map(is_infinite, values), False])
        return codes, odd[indices] if odd.any() else None

    def to_dict(self) -> dict[str, Any]:
        return {"column": self.column, "family": self.family, "levels": list(self.levels)}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Category:
        return cls(state["column"], state["family"], tuple(state["levels"]))


class CategoryFit:
    """Counts the levels of one column in the streamed pass."""

    def __init__(self, name: str, column: str, *, max_levels: int) -> None:
        self.name = name
        self.column = column
        self.missing = 0
        self.infinite = 0
        self.observed = 0
        """Rows with a level, which missing and infinite ones have not."""
        self._max_levels = max_levels
        self._family: str | None = None
        self._counts: Counter[Level] = Counter()
        self._forgot = False
        self._forgotten_once = 0

    def update(self, array: pa.Array) -> None:
        values, indices = read_levels(array, column=self.column, expected=self._family)
        if values:
            self._family = family(array.type)
        # The last place counts the missing ones, whose index is -1.
        counts = np.bincount(np.where(indices < 0, len(values), indices), minlength=len(values) + 1)
        self.missing += int(counts[-1])
        for value, count in zip(values, counts.tolist(), strict=False):
            if value is None:
                self.missing += count
            elif is_infinite(value):
                self.infinite += count
            elif count:
                self.observed += count
                self._counts[value] += count
        if len(self._counts) > TRACKED:
            ranked = _by_frequency(self._counts)
            self._forgotten_once += sum(count == 1 for _, count in ranked[TRACKED // 2 :])
            self._counts = Counter(dict(ranked[: TRACKED // 2]))
            self._forgot = True

    @property
    def once(self) -> int:
        """Levels that occurred exactly once; a level forgotten while it had occurred once is taken for one of them."""
        return self._forgotten_once + sum(count == 1 for count in self._counts.values())

    def ranked(self) -> list[tuple[Level, int]]:
        """At most `max_levels` levels and how often each occurred, the commonest first."""
        return _by_frequency(self._counts)[: self._max_levels]

    def learned(self, what: str, notices: list[str]) -> Category | None:
        """The fitted column; None, with a notice, where it has no value. `what` it is, for the notices."""
        if not self._counts:
            notices.append(f"{what} {self.name} was dropped: it has no value in any record")
            return None
        if len(self._counts) > self._max_levels:
            notices.append(
                f"{what} {self.name} has {'more than ' if self._forgot else ''}{len(self._counts):,} levels; "
                f"the commonest {self._max_levels:,} are told apart, the others count as unseen"
            )
        if self._family is None:
            raise SchemaError(f"column {self.column!r} has levels of no known type")
        return Category(self.column, self._family, tuple(level for level, _ in self.ranked()))

    def category(self, notices: list[str]) -> Category | None:
        """The fitted context column; None, with a notice, where it tells records apart in no way."""
        if len(self._counts) == 1 and not self.missing:
            notices.append(f"context {self.name} was dropped: it has one value in every record")
            return None
        return self.learned("context", notices)


def is_infinite(value: Level | None) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _by_frequency(counts: Counter[Level]) -> list[tuple[Level, int]]:
    """The commonest first, ties by value, so that the order does not depend on that of the rows."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
