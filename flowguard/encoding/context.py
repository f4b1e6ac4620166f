"""Context columns that the network reads as numbers: numbers, booleans, points on a circle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowguard.encoding.cyclic import read_phase
from flowguard.encoding.front import Front
from flowguard.encoding.number import NumberFit, is_number, read_numbers, wrong_type
from flowguard.encoding.settings import ContextSettings

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NumericContext(ABC):
    """A fitted context column; `indicator` adds a column that is 1 where the value is missing."""

    name: str
    column: str
    indicator: bool
    kind: ClassVar[str]
    values: ClassVar[int] = 1

    @property
    def width(self) -> int:
        return self.values + self.indicator

    @abstractmethod
    def read(self, array: pa.Array) -> Array:
        """The raw column as float64: NaN missing, infinite where it cannot be encoded."""

    @abstractmethod
    def fill(self, raw: Array, out: Array) -> None:
        """Write the encoded values of finite `raw` into `out`, shape (n, values)."""

    def encode(self, array: pa.Array, out: Array) -> NDArray[np.bool_] | None:
        """Fill `out` (n, width), 0 where missing; returns which rows are infinite, None for none."""
        raw = self.read(array)
        finite = np.isfinite(raw)
        if finite.all():
            self.fill(raw, out[:, : self.values])
            if self.indicator:
                out[:, self.values] = 0.0
            return None
        self.fill(np.where(finite, raw, 0.0), out[:, : self.values])
        out[~finite, : self.values] = 0.0
        infinite = np.isinf(raw)
        if self.indicator:
            out[:, self.values] = np.isnan(raw)
        return infinite if infinite.any() else None

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "column": self.column, "indicator": self.indicator}


@dataclass(frozen=True, eq=False)
class NumberContext(NumericContext):
    """A number or integer in deviations from its mean, with the log tails of a feature."""

    front: Front
    kind = "number"

    def read(self, array: pa.Array) -> Array:
        return read_numbers(array, column=self.column)

    def fill(self, raw: Array, out: Array) -> None:
        out[:, 0] = self.front.forward(raw)[0]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "front": self.front.to_dict()}


@dataclass(frozen=True, eq=False)
class BooleanContext(NumericContext):
    """True is 1, false -1, so that missing, 0, lies between them. Of numbers only 0 and 1 can be read."""

    kind = "boolean"

    def read(self, array: pa.Array) -> Array:
        return read_booleans(array, column=self.column)

    def fill(self, raw: Array, out: Array) -> None:
        out[:, 0] = 2 * raw - 1


@dataclass(frozen=True, eq=False)
class CyclicContext(NumericContext):
    """Sine and cosine of how far through its period a value is."""

    period: float | str
    kind = "cyclic"
    values = 2

    def read(self, array: pa.Array) -> Array:
        return read_phase(array, self.period, column=self.column)

    def fill(self, raw: Array, out: Array) -> None:
        angle = 2 * np.pi * raw
        out[:, 0] = np.sin(angle)
        out[:, 1] = np.cos(angle)

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "period": self.period}


def read_booleans(array: pa.Array, *, column: str) -> Array:
    """1.0, 0.0, NaN for missing; infinite for a number that is neither 0 nor 1."""
    kind = array.type
    if pa.types.is_boolean(kind):
        return read_numbers(array.cast(pa.uint8()), column=column)
    if not is_number(kind):
        raise wrong_type(column, kind, "booleans (or numbers 0 and 1)")
    values = read_numbers(array, column=column)
    return np.where((values == 0) | (values == 1) | np.isnan(values), values, np.inf)


def numeric_from_dict(state: dict[str, Any]) -> NumericContext:
    common = (state["name"], state["column"], state["indicator"])
    if state["kind"] == "number":
        return NumberContext(*common, Front.from_dict(state["front"]))
    if state["kind"] == "cyclic":
        return CyclicContext(*common, state["period"])
    return BooleanContext(*common)


class NumericFit:
    """What is learned of one numeric context column in the streamed pass."""

    def __init__(self, name: str, column: str, settings: ContextSettings, *, seed: int) -> None:
        self.name = name
        self.column = column
        self._settings = settings
        self._fit = NumberFit(name, seed=seed)

    def update(self, array: pa.Array) -> None:
        self._fit.update(self._read(array))

    def _read(self, array: pa.Array) -> Array:
        if self._settings.kind == "boolean":
            return read_booleans(array, column=self.column)
        if self._settings.period is not None:
            return read_phase(array, self._settings.period, column=self.column)
        return read_numbers(array, column=self.column)

    def context(self, notices: list[str]) -> NumericContext | None:
        """The fitted column; None, with a notice, where it tells records apart in no way."""
        fit = self._fit
        fit.finish()
        if not fit.observed:
            notices.append(f"context {self.name} was dropped: it has no value in any record")
            return None
        if fit.constant and not fit.missing:
            notices.append(f"context {self.name} was dropped: it has one value in every record")
            return None
        common = (self.name, self.column, fit.missing > 0)
        if self._settings.kind == "boolean":
            return BooleanContext(*common)
        if self._settings.period is not None:
            return CyclicContext(*common, self._settings.period)
        return NumberContext(*common, fit.line(notices))
