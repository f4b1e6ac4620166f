"""What ordinary held-out records teach about the expected: where values lie, and how wide an honest range is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from flowguard.explain.outline import Outline, axis_values
from flowguard.explain.replaced import WIDTH, Conditionals

if TYPE_CHECKING:
    from flowguard.density import Inputs, RecordDensity
    from flowguard.encoding import Encoder

Array = NDArray[np.float64]

LEVEL = 0.9
"""The probability that an expected range holds."""
ROUNDS = 1
"""Rounds in which the conditional of a column is refined; ranges are calibrated with as many as they are told with."""
OWN = 200
"""A column with fewer held-out values shares its correction with all the others."""
_EVALUATIONS, _COSTLY = 320_000, 60_000
_ORDINARY = 0.99


@dataclass(frozen=True, eq=False)
class Expected:
    """An outline of the table, and the shares of the conditionals between which ordinary values lie.

    `levels` (d, 2): of ordinary records, `LEVEL` have a value between these quantiles of p(x_i | rest), per column of
    kind number or integer. A density that is too sure of itself has wider ones than 0.05 and 0.95. They are the
    conformal quantiles of the shares below the values of held-out records (split conformal prediction with the
    conditional's distribution function as score: Chernozhukov, Wuthrich, Zhu 2021), 5 % on either side. `ordinary` is
    the 0.99 quantile of -log p of these records on the density's axis, `rows` how many there were.
    """

    outline: Outline
    levels: Array
    ordinary: float
    rows: int

    @classmethod
    def plain(cls, density: RecordDensity) -> Expected:
        """Without any held-out record: nothing is corrected, and nothing passes for ordinary."""
        columns = density.discrete.columns
        valued = sum(column.kind != "category" for column in columns)
        levels = np.tile([0.5 - LEVEL / 2, 0.5 + LEVEL / 2], (len(columns), 1))
        return cls(Outline.plain(valued, int(density.config["numeric"])), levels, -np.inf, 0)

    @classmethod
    def fit(cls, density: RecordDensity, encoder: Encoder, held: Inputs) -> Expected:
        """Of records that the density has not seen, float64; at most as many are looked at as is affordable."""
        plain = cls.plain(density)
        kinds = [column.kind for column in density.discrete.columns]
        numbers, integers = (
            np.array([i for i, k in enumerate(kinds) if k == kind], dtype=np.intp) for kind in ("number", "integer")
        )
        if len(held) < 2:
            return plain
        outline = Outline.fit(axis_values(held, numbers, integers), held.context.numpy())
        valued = np.concatenate([numbers, integers])
        budget = _EVALUATIONS if density.experts is None else _COSTLY
        count = min(len(held), max(2, budget // (WIDTH * (1 + ROUNDS) * max(1, len(valued)))))
        rows = np.linspace(0, len(held), count, endpoint=False, dtype=np.int64)
        start = cls(outline, plain.levels, -np.inf, 0)
        conditionals = start.conditionals(density, encoder, held.take(torch.from_numpy(rows)))
        below = [_below(conditionals, int(column)) for column in valued]
        together = np.concatenate([*below, np.zeros(0)])
        levels = plain.levels.copy()
        for column, own in zip(valued, below, strict=True):
            levels[column] = _between(own if len(own) >= min(OWN, len(together)) else together)
        nll = -conditionals.log_observed
        ordinary = float(np.quantile(nll[np.isfinite(nll)], _ORDINARY)) if np.isfinite(nll).any() else -np.inf
        return cls(outline, levels, ordinary, count)

    def conditionals(self, density: RecordDensity, encoder: Encoder, inputs: Inputs) -> Conditionals:
        """Those of `inputs`, looked for as the levels were calibrated: where experts are costly the flow goes ahead."""
        return Conditionals(density, encoder, inputs, outline=self.outline, scout=True)

    def to_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """JSON facts and float64 arrays, from which `from_state` makes the same bit for bit."""
        ordinary = self.ordinary if np.isfinite(self.ordinary) else None
        return {"rows": self.rows, "ordinary": ordinary}, {"levels": self.levels, **self.outline.to_arrays()}

    @classmethod
    def from_state(cls, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Expected:
        """What `to_state` wrote."""
        ordinary = -np.inf if facts["ordinary"] is None else float(facts["ordinary"])
        levels = np.asarray(arrays["levels"], dtype=np.float64).reshape(-1, 2)
        return cls(Outline.from_arrays(arrays), levels, ordinary, int(facts["rows"]))


def _below(conditionals: Conditionals, column: int) -> Array:
    """The share of the conditional below each record's own value, of the records that have one."""
    rows = np.flatnonzero(np.isfinite(conditionals.values[:, conditionals.place[column]]))
    if not len(rows):
        return np.zeros(0)
    [found] = conditionals.of([(column, rows)], rounds=ROUNDS)
    assert found.profile is not None
    return found.profile.below(found.axis)


def _between(shares: Array) -> Array:
    """The conformal levels, `LEVEL` of the shares between them; without correction where there are too few.

    >>> _between(np.arange(0.5, 100) / 100).tolist()
    [0.045, 0.955]
    """
    n, tail = len(shares), (1 - LEVEL) / 2
    rank = int(np.floor((n + 1) * tail))
    if not rank:
        return np.array([tail, 1 - tail])
    ordered = np.sort(shares)
    return np.array([ordered[rank - 1], ordered[n - rank]])
