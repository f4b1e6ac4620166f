"""The records of a batch as drift looks at them: their scores and columns, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Records:
    """n records.

    `score` (n,) higher = stranger, infinite allowed, NaN not. `features` and `context` are columns by name, (n,) each:
    numbers and dates (NaN, NaT: missing), or anything else as levels (None, NaN: missing). `conditional` (n,) by
    feature is where the density has exact terms by column: each value's conditional rank P(X <= x | rest) in [0, 1],
    which is best, or its term of the log-likelihood; NaN where the feature is missing. `group` (n,) are the calibration
    cells. Raises ValueError, which names the column, when lengths differ.
    """

    score: Array
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    context: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    conditional: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    group: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        score = np.asarray(self.score, dtype=np.float64)
        if score.ndim != 1:
            raise ValueError(f"scores have shape (n,), not {score.shape}")
        if np.isnan(score).any():
            raise ValueError("a score is NaN: a record that cannot be scored is no part of a batch's drift")
        object.__setattr__(self, "score", score)
        for part, columns in (
            ("features", self.features),
            ("context", self.context),
            ("conditional", self.conditional),
        ):
            for name, values in columns.items():
                if np.shape(values) != score.shape:
                    raise ValueError(f"{len(score)} scores, but {part} column {name!r} has shape {np.shape(values)}")
        if self.group is not None and np.shape(self.group) != score.shape:
            raise ValueError(f"{len(score)} scores, but groups of shape {np.shape(self.group)}")

    def __len__(self) -> int:
        return len(self.score)

    def take(self, rows: NDArray[np.bool_]) -> Records:
        """Those of the rows (n,) chosen."""
        features, context, conditional = (
            {name: np.asarray(values)[rows] for name, values in columns.items()}
            for columns in (self.features, self.context, self.conditional)
        )
        group = None if self.group is None else np.asarray(self.group)[rows]
        return Records(self.score[rows], features, context, conditional, group)


FARTHEST = 1e150
"""Beyond it values are held there: no infinity reaches a table."""


def is_number(values: NDArray[Any]) -> bool:
    """Whether a column is one of numbers or dates by its type."""
    return np.asarray(values).dtype.kind in "fiumM"


def numbers(values: NDArray[Any], name: str) -> Array:
    """A column as float64, missing as NaN; dates as days. Raises ValueError where it holds anything else."""
    array = np.asarray(values)
    if array.dtype.kind in "mM":
        unit = "timedelta64[us]" if array.dtype.kind == "m" else "datetime64[us]"
        days = array.astype(unit).astype(np.int64) / 86_400_000_000.0
        return np.where(np.isnat(array), np.nan, days)
    try:
        return np.clip(array.astype(np.float64), -FARTHEST, FARTHEST)
    except (TypeError, ValueError):
        raise ValueError(f"column {name!r} was sealed as numbers, and holds something else") from None


def levels(values: NDArray[Any]) -> tuple[list[str], NDArray[np.int64], int]:
    """The levels of a column as text, how often each occurs, and how many records have none."""
    array = np.asarray(values)
    there = _present(array)
    names, counts = np.unique(array[there].astype(str), return_counts=True)
    return names.tolist(), counts.astype(np.int64), len(array) - int(there.sum())


def codes(values: NDArray[Any], names: Sequence[str]) -> NDArray[np.int64]:
    """The place of each record's level in `names` (sorted), len(names) for any other, -1 where missing."""
    array = np.asarray(values)
    there = _present(array)
    found = np.full(len(array), -1, dtype=np.int64)
    own, places = np.unique(array[there].astype(str), return_inverse=True)
    known = {name: place for place, name in enumerate(names)}
    found[there] = np.array([known.get(name, len(names)) for name in own.tolist()], dtype=np.int64)[places]
    return found


def _present(array: NDArray[Any]) -> NDArray[np.bool_]:
    if array.dtype.kind == "O":
        return np.array([value is not None and value == value for value in array.tolist()], dtype=bool)
    return ~np.isnan(array) if array.dtype.kind == "f" else np.ones(len(array), dtype=bool)
