"""Cells: a partition of the records, each of which is calibrated on its own records (Mondrian calibration)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowguard.errors import CalibrationError

Text = NDArray[np.str_]

ALL = "all"
MISSING = "(missing)"
_OTHER = "(other)"


@dataclass(frozen=True)
class Cells:
    """Which cell a record belongs to, by the values of the columns `by`; without any there is one cell, "all".

    The partition is fixed on counts of the training records before anything is calibrated, so that the p-values of each
    cell are those of a calibration of its own: P(p_value <= a | cell) <= a. Values too rare to calibrate by themselves
    share a cell with their siblings, those of the same values before, and so do values that training never had.

    `tree` is nested by column: `own` has of each value the cell's name or the tree of the next column, `rest` that of
    all other values.

    Source: Vovk, Gammerman & Shafer 2005, section 4.5 (Mondrian conformal predictors).

    >>> cells = Cells.fit(["carrier"], {("UA",): 900, ("AA",): 700, ("OO",): 3, ("HA",): 40}, least=500)
    >>> cells.names
    ('carrier=AA, (other)', 'carrier=UA')
    >>> cells.of([np.array(["UA", "HA", "XX"])]).tolist()
    ['carrier=UA', 'carrier=AA, (other)', 'carrier=AA, (other)']
    """

    by: tuple[str, ...] = ()
    tree: Mapping[str, Any] = field(default_factory=lambda: {"own": {}, "rest": ALL})

    @classmethod
    def fit(cls, by: Sequence[str], counts: Mapping[tuple[str, ...], int], *, least: float) -> Cells:
        """Cells of at least `least` training records each; `counts` has the training records of each combination."""
        if not by:
            return cls()
        if not counts:
            raise CalibrationError(f"There is no training record to form cells of {', '.join(by)}.")
        return cls(tuple(by), _split(by, counts, least, ()))

    @property
    def names(self) -> tuple[str, ...]:
        """The cells, sorted."""
        return tuple(sorted(set(_leaves(self.tree))))

    def of(self, values: Sequence[NDArray[np.object_] | Text], n: int | None = None) -> Text:
        """The cell of each record, (n,); `values` are its columns `by` as text, each (n,). `n` if none."""
        if len(values) != len(self.by):
            raise ValueError(f"cells are by {len(self.by)} columns, and {len(values)} were given")
        if not self.by:
            return np.full(n or 0, ALL)
        distinct, places = _combinations(values)
        found = np.array([self._cell(one) for one in distinct] or [ALL])
        return found[places]

    def places(self, cell: Text | None, n: int) -> NDArray[np.intp]:
        """The place of each record's cell among `names`, (n,); `cell` may be None where there is one.

        Errors: ValueError for cells that are needed and not given, of another length, or unknown.
        """
        names = np.array(self.names)
        if cell is None:
            if len(names) > 1:
                raise ValueError(f"there are {len(names)} cells, and the records' own were not given")
            return np.zeros(n, dtype=np.intp)
        if len(cell) != n:
            raise ValueError(f"{n} records but {len(cell)} cells")
        found = np.clip(np.searchsorted(names, cell), 0, len(names) - 1)
        if n and not (names[found] == cell).all():
            raise ValueError(f"there is no cell {str(cell[names[found] != cell][0])!r}")
        return found

    def _cell(self, values: Sequence[str]) -> str:
        here: Any = self.tree
        for value in values:
            here = here["own"].get(value, here["rest"])
            if isinstance(here, str):
                break
        return here

    def to_state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"by": list(self.by), "tree": self.tree}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Cells:
        """The cells that wrote `state`."""
        return cls(tuple(state["by"]), state["tree"])


def counted(values: Iterable[Sequence[NDArray[np.object_] | Text]]) -> Counter[tuple[str, ...]]:
    """How often each combination of values occurs in chunks of columns.

    >>> counted([[np.array(["a", "b", "a"])]])
    Counter({('a',): 2, ('b',): 1})
    """
    found: Counter[tuple[str, ...]] = Counter()
    for columns in values:
        distinct, places = _combinations(columns)
        for one, count in zip(distinct, np.bincount(places, minlength=len(distinct)).tolist(), strict=True):
            found[one] += count
    return found


def as_text(values: Sequence[Any]) -> Text:
    """Values as the cells know them, `(missing)` where there is none."""
    return np.array([MISSING if value is None or value != value else str(value) for value in values], dtype=str)


# -- inside ------------------------------------------------------------------------------------------------------------


def _split(
    by: Sequence[str], counts: Mapping[tuple[str, ...], int], least: float, before: tuple[str, ...]
) -> dict[str, Any]:
    """The cells of one column, given the values of the columns before it, whose cell is large enough."""
    column = len(before)
    total: Counter[str] = Counter()
    for values, count in counts.items():
        total[values[column]] += count
    # The largest first, and of two as large the first by name: nothing depends on the order of the records.
    order = sorted(total, key=lambda value: (-total[value], value))
    own = [value for value in order if total[value] >= least]
    rest = order[len(own) :]
    pooled = sum(total[value] for value in rest)
    while rest and own and pooled < least:
        pooled += total[own[-1]]
        rest.insert(0, own.pop())
    if not own:
        return {"own": {}, "rest": _name(by, before, ())}
    cells: dict[str, Any] = {}
    for value in own:
        here = (*before, value)
        cells[value] = _name(by, here, ())
        if len(here) < len(by):
            cells[value] = _split(by, {v: c for v, c in counts.items() if v[column] == value}, least, here)
    # What is rare may hold values that could stand alone but for their siblings: they are named.
    named = tuple(value for value in rest if total[value] >= least)
    others: Any = _name(by, before, (named, len(rest) > len(named)))
    if not rest:
        # Every value stands alone; one that training never had goes with the smallest.
        others = cells[own[-1]]
    return {"own": cells, "rest": others}


def _name(by: Sequence[str], values: tuple[str, ...], rest: tuple[Any, ...]) -> str:
    words = [f"{name}={value}" for name, value in zip(by, values, strict=False)]
    if rest:
        named, more = rest
        inside = [*named, _OTHER] if more else list(named)
        words.append(f"{by[len(values)]}={', '.join(inside)}" if named else f"{by[len(values)]}={_OTHER}")
    return "; ".join(words) or ALL


def _leaves(tree: Any) -> Iterable[str]:
    if isinstance(tree, str):
        yield tree
        return
    for part in (*tree["own"].values(), tree["rest"]):
        yield from _leaves(part)


def _combinations(values: Sequence[NDArray[np.object_] | Text]) -> tuple[list[tuple[str, ...]], NDArray[np.intp]]:
    """The distinct combinations of text columns, and which of them each record has."""
    levels, codes = [], []
    for column in values:
        names, places = np.unique(np.asarray(column).astype(str), return_inverse=True)
        levels.append(names)
        codes.append(places)
    rows, places = np.unique(np.stack(codes, 1), axis=0, return_inverse=True)
    distinct = [tuple(str(levels[i][code]) for i, code in enumerate(row)) for row in rows.tolist()]
    return distinct, places.reshape(-1)
