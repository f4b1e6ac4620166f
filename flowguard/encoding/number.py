"""Numbers: raw columns as float64, and a fitted number column with its front and its lattice step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowguard.encoding.atoms import atom_places
from flowguard.encoding.front import Front, Line, quantile_front, robust_front, standard_front
from flowguard.encoding.lattice import Lattice, find_step
from flowguard.encoding.summary import Few, Moments, Sample
from flowguard.errors import SchemaError

Array = NDArray[np.float64]

NUMBERS = "numbers (integers, floats or decimals)"


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type can be read as a number."""
    if pa.types.is_dictionary(kind):
        return is_number(kind.value_type)
    return (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    )


def read_numbers(array: pa.Array, *, column: str) -> Array:
    """A raw column as float64, NaN where it is missing (null or NaN); infinities stay.

    Integers beyond 2^53 round to the nearest float64. Raises `SchemaError` when the column holds no numbers.
    """
    kind = array.type
    if not is_number(kind):
        raise wrong_type(column, kind, NUMBERS)
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return np.full(len(array), np.nan)
    if not pa.types.is_float64(array.type):
        array = pc.cast(array, pa.float64(), safe=False)
    # One memory layout whatever came in: numpy may take another code path, with other last bits, for strided
    # data.
    return np.ascontiguousarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)


def wrong_type(column: str, found: pa.DataType, expected: str) -> SchemaError:
    return SchemaError(f"column {column!r} holds {found}; expected {expected}")


@dataclass(frozen=True, eq=False)
class Number:
    """A fitted number: its front, the straight line beside it, and the step of its lattice or None."""

    front: Front
    line: Front
    step: float | None = None

    def dithered(self, values: Array, dither: np.random.Generator | None) -> Array:
        """`values` moved by up to half a step, uniformly, where the column lies on a lattice."""
        if dither is None or self.step is None:
            return values
        return values + self.step * (dither.random(len(values)) - 0.5)

    def to_dict(self) -> dict[str, Any]:
        return {"front": self.front.to_dict(), "line": self.line.to_dict(), "step": self.step}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Number:
        return cls(Front.from_dict(state["front"]), Front.from_dict(state["line"]), state["step"])


class NumberFit:
    """What is learned of one number column in the streamed pass."""

    def __init__(self, name: str, *, seed: int) -> None:
        self.name = name
        self.missing = 0
        self.infinite = 0
        self._moments = Moments()
        self._sample = Sample(name, seed=seed)
        self._few = Few()
        self._seed = seed

    def update(self, values: Array) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            missing = int(np.isnan(values).sum())
            self.missing += missing
            self.infinite += len(values) - int(finite.sum()) - missing
            values = values[finite]
        self._moments.update(values)
        self._sample.update(values)
        self._few.update(values)

    @property
    def observed(self) -> int:
        """Finite values seen; call `finish` first."""
        return self._moments.count

    @property
    def constant(self) -> bool:
        """Whether every observed value is the same; call `finish` first."""
        return not self._moments.low < self._moments.high

    @property
    def few(self) -> dict[float, int] | None:
        """The values and how often each occurred, where there are at most two in the whole stream; else None."""
        return self._few.counts

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest value of the whole stream; call `finish` first."""
        return self._moments.low, self._moments.high

    def finish(self) -> None:
        self._moments.finish()

    def sample(self) -> Array:
        """The bounded sample, sorted."""
        return self._sample.sorted()

    def number(self, front: str, notices: list[str], *, atoms: Sequence[float] = ()) -> Number:
        """The column without its `atoms`; a front that the values do not bear is replaced, and `notices` says so.

        Step and front are those of the sampled values that are no atoms. Where these are fewer than two distinct
        ones (one odd row in a million), the least and the greatest value of the whole stream join them, atoms or
        not, so that the front spans what there is. The standard front takes mean and deviation from the whole stream
        where there are no atoms, else from the same sampled values.
        """
        moments = self._moments
        sample = self.sample()
        if atoms:
            sample = sample[atom_places(sample, atoms) < 0]
        if not len(sample) or sample[0] == sample[-1]:
            sample = np.sort(np.append(sample, [moments.low, moments.high]))
        mean, deviation = moments.mean, moments.deviation
        if atoms:
            with np.errstate(over="ignore", invalid="ignore"):
                mean, deviation = float(sample.mean()), float(sample.std())
        step = find_step(sample)
        chosen = self._front(front, notices, sample=sample, step=step, moments=(mean, deviation))
        # Where mean and deviation leave the range of numbers, median and quartiles do not.
        return Number(chosen, standard_front(mean, deviation) or robust_front(sample), step)

    def on_lattice(self, front: str, notices: list[str], *, lattice: Lattice) -> Front:
        """The front of an integer: of its values on the lattice, each spread over its step."""
        sample = self.sample()
        sample = sample[lattice.holds(sample)]
        deviation = math.hypot(self._moments.deviation, lattice.step / math.sqrt(12))
        spread = self._spread(sample, lattice.step)
        return self._front(front, notices, sample=spread, step=None, moments=(self._moments.mean, deviation))

    def line(self, notices: list[str]) -> Front:
        """The standard front, for a column that is conditioned on; a constant one lies at 0."""
        if self.constant:
            return Front("standard", Line(self._moments.low, 1.0))
        return self.number("standard", notices).front

    def _front(
        self, front: str, notices: list[str], *, sample: Array, step: float | None, moments: tuple[float, float]
    ) -> Front:
        """The front of a sorted sample, whose mean and deviation are `moments`; another where it bears no such one."""
        chosen: Front | None = None
        if front == "quantile":
            chosen = quantile_front(self._spread(sample, step))
        if front == "standard" or (front == "quantile" and chosen is None):
            chosen = standard_front(*moments)
        if chosen is None:
            chosen = robust_front(sample)
        if chosen.kind != front:
            why = "too few distinct values" if chosen.kind == "standard" else "its variance leaves the range of numbers"
            notices.append(f"{self.name}: the {front} front was replaced by the {chosen.kind} one ({why})")
        return chosen

    def _spread(self, sample: Array, step: float | None) -> Array:
        """The sample with ties spread over their lattice step, as training sees them."""
        if step is None:
            return sample
        random = np.random.default_rng([self._seed, len(sample)])
        return np.sort(sample + step * (random.random(len(sample)) - 0.5))
