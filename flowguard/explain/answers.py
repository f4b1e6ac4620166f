"""What there is to say of strange records: which columns make them so, what was expected there, and which pairs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from flowguard.explain.conditional import VALUE, Conditional
from flowguard.explain.expected import ROUNDS, Expected
from flowguard.explain.pairs import Pair, pairs_of
from flowguard.explain.replaced import Conditionals

if TYPE_CHECKING:
    from flowguard.density import Inputs, RecordDensity
    from flowguard.encoding import Encoder

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

WIDEST = 40
"""Of a wider table the contrasts of so many columns are looked for, which stand out by share or by the outline."""
FIRST_OF = 2
"""Columns that are looked at closely to tell which is first: a contrast found coarsely can only be too small."""
SPARE = 1
"""Columns beyond those told that are looked at closely, once the first is put right."""
WORKERS = 2
"""Blocks of records that are worked on at once."""
_LEAST, _MOST = 256, 512
"""Records in a block: of more the columns that are looked at closely share their work better, at more memory."""


class Answers:
    """The contrasts of records, and of the columns with the largest the conditionals themselves.

    `contrasts` (n, d): of the first column of each record that of the record as it is; of the others with the best
    value in the first, because a column that belongs together with a wrong one looks wrong beside it. Coarse for most
    columns (by the flow alone where there are experts), closer for the `top` + `SPARE` that look largest, and -inf
    where they were not looked for. `pairs` are those that explain a record which no column explains alone, by row.
    """

    def __init__(
        self,
        density: RecordDensity,
        encoder: Encoder,
        inputs: Inputs,
        expected: Expected,
        *,
        shares: Array | None = None,
        top: int = 3,
    ) -> None:
        self.density, self.encoder, self.expected = density, encoder, expected
        n, d = inputs.codes.shape
        self.contrasts = np.full((n, d), -np.inf)
        self.pairs: dict[int, Pair] = {}
        self._found: dict[int, tuple[list[int], list[Conditional]]] = {column: ([], []) for column in range(d)}
        lock, block = Lock(), min(max(_LEAST, -(-n // WORKERS)), _MOST)

        def answer(start: int) -> None:
            rows = np.arange(start, min(n, start + block))
            found = self._answer(
                inputs.take(torch.from_numpy(rows)), rows, None if shares is None else shares[rows], top
            )
            with lock:
                for column, known, one in found:
                    self._found[column][0].extend(known.tolist())
                    self._found[column][1].append(one)

        # Each thread of Python computes on as many threads of torch as are set here, so bits do not depend on them.
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(answer, range(0, n, block)))
        self._joined: dict[int, tuple[Rows, Conditional]] = {}
        for column, (known, parts) in self._found.items():
            if known:
                order = np.argsort(known)
                self._joined[column] = np.array(known)[order], Conditional.join(parts).take(order)

    def of(self, rows: Rows, column: int) -> Conditional:
        """The conditional of a column in some of the records that it was looked at closely for, in ascending order."""
        known, found = self._joined[column]
        return found.take(np.searchsorted(known, rows))

    def ranges(self, rows: Rows, column: int) -> tuple[Array, Array]:
        """Where 90 % of ordinary values lie given the same rest, in the user's units; NaN for a category."""
        found, name = self.of(rows, column), self.encoder.feature_names[column]
        if found.profile is None:
            return np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        low, high = (self.encoder.decode(name, found.profile.quantile(q)) for q in self.expected.levels[column])
        return low, high

    def best(self, rows: Rows, column: int) -> list[tuple[int, float | None]]:
        """The code that would be likeliest, and the likeliest value where that is one (code 0, of no category)."""
        found, name = self.of(rows, column), self.encoder.feature_names[column]
        if found.profile is None:
            return [(int(code), None) for code in found.best_code]
        values = self.encoder.decode(name, found.profile.mode).tolist()
        return [
            (int(code), value if code == VALUE else None) for code, value in zip(found.best_code, values, strict=True)
        ]

    def _answer(
        self, inputs: Inputs, rows: Rows, shares: Array | None, top: int
    ) -> list[tuple[int, Rows, Conditional]]:
        """Contrasts and pairs of some records; returns (column, its rows, conditionals) of the closer looks."""
        exact = self.expected.conditionals(self.density, self.encoder, inputs)
        coarse = exact.ahead if exact.scout else exact
        contrasts = np.full(inputs.codes.shape, -np.inf)
        asked = _by_column(_standing_out(exact, shares))
        for (column, its), found in zip(asked, coarse.of(asked, rounds=0), strict=True):
            contrasts[its, column] = found.contrast
        order = np.argsort(-contrasts, axis=1, kind="stable")
        close = self._look(exact, order[:, :FIRST_OF], contrasts)
        order = np.argsort(
            -np.where(_marked(order[:, :FIRST_OF], contrasts), contrasts, -np.inf), axis=1, kind="stable"
        )
        first, every = order[:, 0], np.arange(len(rows))
        # What is odd beside the first is odd also when that is put right.
        restored = self._restored(exact, first, close)
        others = np.where(_marked(first[:, None], contrasts), -np.inf, contrasts)
        chosen = np.argsort(-others, axis=1, kind="stable")[:, : min(top - 1 + SPARE, contrasts.shape[1] - 1)]
        seconds = self._look(restored, chosen, contrasts) if chosen.shape[1] else {}
        looked = _marked(np.column_stack([first, chosen]), contrasts)
        least = np.where(looked, contrasts, np.inf).min(axis=1, keepdims=True)
        self.contrasts[rows] = np.where(looked, contrasts, np.minimum(contrasts, np.nextafter(least, -np.inf)))
        told: list[tuple[int, Rows, Conditional]] = []
        for place, kept in ((first[:, None], close), (chosen, seconds)):
            for column, (its, found) in kept.items():
                mine = (place[its] == column).any(axis=1)
                if mine.any():
                    told.append((column, rows[its[mine]], found.take(np.flatnonzero(mine))))
        after = np.where(looked, self.contrasts[rows], 0.0)
        after[every, first] = 0.0
        alone = contrasts[every, first] + after.max(axis=1)
        still = np.flatnonzero(-exact.log_observed - alone > self.expected.ordinary)
        if np.isfinite(self.expected.ordinary) and len(still):
            pairs = pairs_of(exact, still, self.expected, alone)
            self.pairs.update({int(rows[row]): pair for row, pair in pairs.items()})
        return told

    def _look(
        self, where: Conditionals, chosen: NDArray[np.intp], contrasts: Array
    ) -> dict[int, tuple[Rows, Conditional]]:
        """The conditionals of the chosen columns, whose contrasts they replace."""
        asked = _by_column(chosen)
        found = where.of(asked, rounds=ROUNDS)
        for (column, its), one in zip(asked, found, strict=True):
            contrasts[its, column] = one.contrast
        return {column: (its, one) for (column, its), one in zip(asked, found, strict=True)}

    def _restored(
        self, exact: Conditionals, first: NDArray[np.intp], close: dict[int, tuple[Rows, Conditional]]
    ) -> Conditionals:
        """The same records, with the best value in the column that is first of each."""
        parts, order = [], []
        for column in np.unique(first).tolist():
            its, found = close[column]
            mine = np.flatnonzero(first[its] == column)
            best = found.take(mine)
            valued = best.best_code == VALUE if best.profile is not None else np.zeros(len(mine), bool)
            for some, moved in ((valued, True), (~valued, False)):
                if some.any():
                    at = its[mine[some]]
                    if moved:
                        assert best.profile is not None
                        parts.append(exact.with_values(at, column, best.profile.mode[some][:, None])[0])
                    else:
                        parts.append(exact.with_codes(at, column, best.best_code[some][:, None]))
                    order.extend(at.tolist())
        return exact.among(type(exact.inputs).join(parts).take(torch.from_numpy(np.argsort(order))))


def _marked(columns: NDArray[np.intp], like: Array) -> NDArray[np.bool_]:
    marks = np.zeros(like.shape, dtype=bool)
    np.put_along_axis(marks, columns, True, axis=1)
    return marks


def _standing_out(exact: Conditionals, shares: Array | None) -> NDArray[np.intp]:
    """The columns to look at, (n, at most `WIDEST`): all of them, or those that stand out by either account."""
    n, d = exact.inputs.codes.shape
    if d <= WIDEST:
        return np.tile(np.arange(d), (n, 1))
    off = np.zeros((n, d))
    off[:, exact.valued] = np.nan_to_num(np.abs(exact.values - exact.means) / exact.outline.deviations)
    ranks = np.argsort(np.argsort(-off, axis=1, kind="stable"), axis=1, kind="stable")
    if shares is not None:
        by_share = np.where(np.isnan(shares), np.inf, shares)
        ranks = np.minimum(ranks, np.argsort(np.argsort(-by_share, axis=1, kind="stable"), axis=1, kind="stable"))
    return np.sort(np.argsort(ranks, axis=1, kind="stable")[:, :WIDEST], axis=1)


def _by_column(chosen: NDArray[np.intp]) -> list[tuple[int, Rows]]:
    """Each column with the rows that chose it, ascending."""
    return [(int(column), np.flatnonzero((chosen == column).any(axis=1))) for column in np.unique(chosen)]
