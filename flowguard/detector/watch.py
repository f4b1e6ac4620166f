"""What drift looks at of the records that pass: their columns, and how improbable each value was given the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from flowguard.calibration import Parts
from flowguard.calibration.drift import BatchSummary, Records, Reference
from flowguard.calibration.tail import CONTINUOUS
from flowguard.encoding import Encoder

MOST = 100_000
"""Records of a batch that are kept, at most: every second, fourth, .. one of larger batches."""


@dataclass(frozen=True, eq=False)
class Watched:
    """What later batches are compared with: the reference, and calibration days that they rank among."""

    reference: Reference
    earlier: tuple[BatchSummary, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` of it summarises and ranks to the same bits."""
        return {"reference": self.reference.to_json(), "earlier": [one.to_json() for one in self.earlier]}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Watched:
        """What wrote `state`."""
        earlier = tuple(BatchSummary.from_json(one) for one in state["earlier"])
        return cls(Reference.from_json(state["reference"]), earlier)


class Watch:
    """A sample of a batch's usable records, by their place alone: the same records give the same sample.

    Redacted columns are not looked at, as drift names levels. Neither are dates and times: they move with every day.
    """

    def __init__(self, encoder: Encoder, columns: Mapping[str, str], redact: tuple[str, ...] = ()) -> None:
        self._features = [feature.column for feature in encoder.features]
        kinds = [feature.kind for feature in encoder.features]
        shown = [name for name, kind in columns.items() if name not in redact and not kind.startswith(("date", "time"))]
        self._shown = shown
        named = {name for name, kind in zip(self._features, kinds, strict=True) if kind == "category"}
        self._levels = named | {category.column for category in encoder.categories}
        self._kept: list[tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]] = []
        self._step, self._seen = 1, 0

    def add(self, batch: pa.RecordBatch, parts: Parts, usable: np.ndarray) -> None:
        """The next records: `usable` (n,) says which of the batch could be scored; `parts` are those alone."""
        places = self._seen + np.arange(len(parts))
        self._seen += len(parts)
        mine = places % self._step == 0
        rows = pa.array(np.flatnonzero(usable)[mine])
        values = {name: _values(batch.column(name).take(rows), name in self._levels) for name in self._shown}
        self._kept.append((places[mine], values, self._terms(parts, mine)))
        while sum(len(one) for one, _, _ in self._kept) > MOST:
            self._step *= 2
            self._kept = [_thinned(kept, self._step) for kept in self._kept]

    @property
    def places(self) -> np.ndarray:
        """Which of the usable records are kept, by their places, (k,)."""
        return np.concatenate([places for places, _, _ in self._kept] or [np.zeros(0, dtype=np.int64)])

    def records(self, score: np.ndarray, group: np.ndarray | None) -> Records:
        """The records kept; `score` and `group` (n,) are those of all usable records."""
        places = self.places
        columns, terms = (
            {name: np.concatenate([kept[part][name] for kept in self._kept]) for name in self._kept[0][part]}
            if self._kept
            else {}
            for part in (1, 2)
        )
        return Records(
            score=score[places],
            features={name: values for name, values in columns.items() if name in self._features},
            context={name: values for name, values in columns.items() if name not in self._features},
            conditional=terms,
            group=None if group is None else group[places],
        )

    def _terms(self, parts: Parts, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Of each number that is there, how improbable its value was given the rest, where the density has terms."""
        if parts.density_terms is None or parts.mass_terms is None:
            return {}
        width = parts.density_terms.shape[1]
        digits = np.ascontiguousarray(parts.pattern.astype(f"U{width}")).view("U1").reshape(-1, width)
        told = -np.where(digits == CONTINUOUS, parts.density_terms, np.nan)[rows]
        return {
            name: told[:, i]
            for i, name in enumerate(self._features)
            if name in self._shown and name not in self._levels
        }


def _values(column: pa.Array, levels: bool) -> np.ndarray:
    kind = column.type
    if levels or not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return np.array(column.cast(pa.string()).to_pylist(), dtype=object)
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _thinned(
    kept: tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]], step: int
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    places, *columns = kept
    mine = places % step == 0
    values, terms = ({name: one[mine] for name, one in each.items()} for each in columns)
    return places[mine], values, terms
