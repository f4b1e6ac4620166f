"""A column of a record given all its others: exact, from the joint density with its value replaced.

p(x_i | rest, context) is proportional to p(record with x_i replaced | context) as a function of x_i. So it needs no
column order: it exists for every family, and for mixtures of densities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from flowguard.explain.conditional import FIRST, MISSING, VALUE, Conditional
from flowguard.explain.outline import Outline, axis_values
from flowguard.explain.profile import Profile
from flowguard.explain.tried import Tried

if TYPE_CHECKING:
    from flowguard.density import Inputs, RecordDensity
    from flowguard.density.replacing import Replacing
    from flowguard.encoding import Encoder

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

TILE = 512
"""Rows that the density sees in every call, so that a record's bits do not depend on what is explained beside it."""
WIDTH = 16
"""Values that are tried of a number or integer in one round."""
LEVELS = 48
"""Levels of a category that are tried: all of them, or the likeliest given the columns before, and the observed one."""
_BEYOND = 4.0
_HAIR = 1e-9
_FEW, _MANY = 16, 128


class Conditionals:
    """The conditionals of records under a density; `outline` says where values are looked for.

    `inputs` are the records, in float64 on the CPU. With `scout` the flow goes ahead of experts, where there are any,
    and finds the places at which the density is asked once; `experts` False leaves them out altogether. `whole`: every
    record is asked as a whole, which is cheaper where each has a column of its own.
    """

    def __init__(
        self,
        density: RecordDensity,
        encoder: Encoder,
        inputs: Inputs,
        *,
        outline: Outline | None = None,
        scout: bool = False,
        experts: bool = True,
        whole: bool = False,
    ) -> None:
        self.density, self.encoder, self.inputs, self.whole = density, encoder, inputs, whole
        columns = density.discrete.columns
        self.kinds = [column.kind for column in columns]
        self.numbers = np.array([i for i, kind in enumerate(self.kinds) if kind == "number"], dtype=np.intp)
        self.integers = np.array([i for i, kind in enumerate(self.kinds) if kind == "integer"], dtype=np.intp)
        self.valued = np.concatenate([self.numbers, self.integers])
        self.place = {int(i): place for place, i in enumerate(self.valued)}
        self.experts = experts and density.experts is not None
        self.scout = scout and self.experts
        self.log_prob = density.log_prob if self.experts else density.flow_log_prob
        context = inputs.context.double().numpy()
        self.outline = outline or Outline.plain(len(self.valued), context.shape[1])
        self.values = axis_values(inputs, self.numbers, self.integers)
        self.off = self.outline.off(self.values, context)
        self.means = self.outline.given_others(self.values, self.off)
        self.log_observed = self.evaluate([inputs])[0]

    def among(self, inputs: Inputs, *, whole: bool = False) -> Conditionals:
        """Of other records, in the same way."""
        how = {"outline": self.outline, "scout": self.scout, "experts": self.experts}
        return Conditionals(self.density, self.encoder, inputs, **how, whole=whole)  # type: ignore[arg-type]

    @cached_property
    def ahead(self) -> Conditionals:
        """Of the same records under the flow alone."""
        found = Conditionals(
            self.density, self.encoder, self.inputs, outline=self.outline, experts=False, whole=self.whole
        )
        found.__dict__["_replacing"] = self._replacing
        return found

    # -- the joint density -------------------------------------------------------------------------------------------

    def evaluate(self, parts: Sequence[Inputs]) -> list[Array]:
        """log p of every record of each part, in tiles of one shape."""
        from flowguard.density import Inputs

        sizes = [len(part) for part in parts]
        if not sum(sizes):
            return [np.zeros(0) for _ in parts]
        every = Inputs.join(list(parts))
        found = []
        for start in range(0, len(every), TILE):
            rows = torch.arange(start, start + TILE).clamp(max=len(every) - 1)
            with torch.inference_mode():
                found.append(self.log_prob(every.take(rows)).double().numpy()[: len(every) - start])
        return np.split(np.concatenate(found), np.cumsum(sizes)[:-1])

    def log_probs(self, tried: Sequence[Tried]) -> list[Array]:
        """log p of the records with each of the values, (n, k) each."""
        found = [np.empty(one.codes.shape) for one in tried]
        quick = [self._quick(one) for one in tried]
        slow = [one.take(~some) for one, some in zip(tried, quick, strict=True)]
        logs = self.evaluate([self._inputs(one) for one in slow])
        for one, some, rest, array, log in zip(tried, quick, slow, found, logs, strict=True):
            array[~some] = log.reshape(rest.codes.shape)
            if some.any():
                array[some] = self._replaced(one.take(some))
        return found

    def _quick(self, tried: Tried) -> NDArray[np.bool_]:
        """The records in which nothing but a number's value changes: not that there is one."""
        if self.whole or self.kinds[tried.column] != "number":
            return np.zeros(len(tried.rows), dtype=bool)
        own = self.inputs.codes[:, tried.column].numpy()[tried.rows]
        return (own == VALUE) & tried.valued.all(axis=1)

    def _replaced(self, tried: Tried) -> Array:
        rows = torch.from_numpy(np.asarray(tried.rows, dtype=np.int64))
        with torch.inference_mode():
            values, line, stretch = map(torch.from_numpy, (tried.first, tried.line, tried.log_stretch))
            ask = partial(self._replacing.log_prob, line=line, log_stretch=stretch, experts=self.experts)
            return ask(rows, tried.column, values).numpy()

    @cached_property
    def _replacing(self) -> Replacing:
        from flowguard.density.replacing import Replacing

        with torch.inference_mode():
            return Replacing(self.density, self.inputs)

    def with_values(self, rows: Rows, column: int, axis: Array) -> tuple[Inputs, Array, Array]:
        """The records at `rows` with each of the values `axis` (n, k) in one column, n k of them, row by row.

        Returned with the values that these are on the axis, of an integer the lower edge of its step, and the log of
        the step's width, which is 0 of a number; (n, k) each. A value that is an atom has NaN for both.
        """
        tried = Tried.values(self.encoder, rows, column, axis)
        return self._inputs(tried), *self._points(tried)

    def with_codes(self, rows: Rows, column: int, codes: NDArray[np.int64]) -> Inputs:
        """The records at `rows` with each of `codes` (n, k) in one column, n k of them, row by row; none is a value."""
        if self.kinds[column] != "category":
            return self._inputs(Tried.named(self.encoder, rows, column, codes))
        many = self.inputs.take(torch.from_numpy(np.repeat(np.asarray(rows, dtype=np.int64), codes.shape[1])))
        replaced = many.codes.clone()
        replaced[:, column] = torch.from_numpy(codes.reshape(-1))
        return replace(many, codes=replaced)

    def _inputs(self, tried: Tried) -> Inputs:
        return tried.inputs(self.inputs, self.place[tried.column], len(self.numbers))

    def _points(self, tried: Tried) -> tuple[Array, Array]:
        """Where the values lie, and the log width of their steps; NaN for atoms."""
        wide = np.zeros(tried.codes.shape) if self.kinds[tried.column] == "number" else tried.second
        return np.where(tried.valued, tried.first, np.nan), np.where(tried.valued, wide, np.nan)

    # -- conditionals ------------------------------------------------------------------------------------------------

    def of(self, asked: Sequence[tuple[int, Rows]], *, rounds: int = 2) -> list[Conditional]:
        """The conditional of each (column, rows); values are looked for in one round and `rounds` more."""
        profiles = self._profiles(asked, rounds)
        codes = [self._codes(column, rows) for column, rows in asked]
        logs = self.evaluate(
            [
                self.with_codes(rows, column, np.maximum(tried, MISSING if column in self.place else VALUE))
                for (column, rows), tried in zip(asked, codes, strict=True)
            ]
        )
        found = []
        for (column, rows), tried, log, profile in zip(asked, codes, logs, profiles, strict=True):
            found.append(self._conditional(column, rows, tried, log.reshape(tried.shape), profile))
        return found

    def _conditional(
        self, column: int, rows: Rows, tried: NDArray[np.int64], logs: Array, profile: Profile | None
    ) -> Conditional:
        own = self.inputs.codes[torch.from_numpy(np.asarray(rows, dtype=np.int64)), column].numpy()
        mine = self.log_observed[rows]
        logs = np.where(tried >= 0, logs, -np.inf)
        axis, value_log = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        if profile is not None:
            axis = self.values[rows, self.place[column]]
            value_log = mine - self._log_width(rows, column)
            tried, logs = (
                np.hstack([np.zeros((len(rows), 1), np.int64), tried]),
                np.hstack([profile.log_mass[:, None], logs]),
            )
        # The record's own code comes last where it was not among those tried.
        known = tried == own[:, None]
        tried = np.hstack([tried, np.where(known.any(axis=1), -1, own)[:, None]])
        logs = np.hstack([logs, np.where(known.any(axis=1), -np.inf, mine)[:, None]])
        return Conditional(tried, logs, (tried == own[:, None]).argmax(axis=1), profile, axis, value_log)

    def _log_width(self, rows: Rows, column: int) -> Array:
        """What turns the probability of an integer's step into its density on the axis; 0 for a number."""
        if self.kinds[column] == "number":
            return np.zeros(len(rows))
        return self.inputs.log_width[:, self.place[column] - len(self.numbers)].double().numpy()[rows]

    def _codes(self, column: int, rows: Rows) -> NDArray[np.int64]:
        """The codes to try beside a value, (n, c): those that occurred in training."""
        known = self.density.discrete.columns[column]
        if column in self.place:
            # An atom has a value, what lies off the lattice of an integer has none.
            last = len(known.counts) if known.kind == "number" else FIRST
            live = [code for code in known.live if MISSING <= code < last][:LEVELS]
            return np.tile(np.array(live, dtype=np.int64), (len(rows), 1))
        live = list(known.live)
        if len(live) <= LEVELS:
            return np.tile(np.array(live, dtype=np.int64), (len(rows), 1))
        found = []
        for start in range(0, len(rows), WIDTH):
            piece = rows[start : start + WIDTH]
            full = np.concatenate([piece, np.repeat(piece[:1], WIDTH - len(piece))])
            with torch.inference_mode():
                logs = self.density.code_log_probs(self.inputs.take(torch.from_numpy(full)), column).double().numpy()
            found.append(np.argsort(-logs, axis=1, kind="stable")[: len(piece), :LEVELS])
        return np.concatenate(found)

    def _profiles(self, asked: Sequence[tuple[int, Rows]], rounds: int) -> list[Profile | None]:
        if not self.scout or not rounds:
            return self._searched(asked, rounds, [None] * len(asked), ordered=rounds > 0)
        ahead = self.ahead._searched(asked, rounds, [None] * len(asked), ordered=True)
        return self._searched(asked, 0, ahead, anew=True)

    def _searched(
        self,
        asked: Sequence[tuple[int, Rows]],
        rounds: int,
        found: list[Profile | None],
        *,
        ordered: bool = False,
        anew: bool = False,
    ) -> list[Profile | None]:
        """The profiles with one round more and `rounds` after it; `anew`: of those found only the places count."""
        places = [place for place, (column, _) in enumerate(asked) if column in self.place]
        for _ in range(rounds + 1):
            tried = []
            for place in places:
                column, rows = asked[place]
                before = found[place]
                if before is None:
                    tried.append(self._seeds(column, rows, ordered=ordered))
                elif anew:
                    ends = before.points[:, [0, -1]]
                    tried.append(np.hstack([before.where_to_look(WIDTH - 2), ends]))
                else:
                    tried.append(before.where_to_look(WIDTH))
            laid = [
                Tried.values(self.encoder, asked[p][1], asked[p][0], axis)
                for p, axis in zip(places, tried, strict=True)
            ]
            for place, one, log in zip(places, laid, self.log_probs(laid), strict=True):
                found[place] = self._joined(*asked[place], None if anew else found[place], *self._points(one), log)
        return found

    def _joined(
        self, column: int, rows: Rows, before: Profile | None, points: Array, log_width: Array, logs: Array
    ) -> Profile:
        """The profile with more points; over an integer's step it is flat."""
        logs = logs - log_width
        if self.kinds[column] == "integer":
            # A hair short of the next step, whose density begins there.
            upper = points + (1 - _HAIR) * np.exp(log_width)
            points, logs = np.hstack([points, upper]), np.hstack([logs, logs])
        if before is not None:
            # An atom says nothing of the density beside it.
            return before.joined(np.where(np.isnan(points), before.points[:, :1], points), logs)
        own, mine = self.values[rows, self.place[column]], self.log_observed[rows] - self._log_width(rows, column)
        if self.kinds[column] == "integer":
            half = 0.5 * np.exp(self._log_width(rows, column))
            own = np.stack([own - half, own + (1 - 2 * _HAIR) * half], 1)
        points = np.hstack([points, own.reshape(len(rows), -1)])
        logs = np.hstack([logs, np.tile(mine[:, None], (1, points.shape[1] - logs.shape[1]))])
        least = np.nanmin(points, axis=1, keepdims=True)
        return Profile.of(np.where(np.isnan(points), least, points), np.where(np.isnan(points), -np.inf, logs))

    def _seeds(self, column: int, rows: Rows, *, ordered: bool) -> Array:
        """Where a value is looked for first, (n, at most WIDTH): quantiles, what the others tell of it, and far out.

        `ordered`: also at the median given the columns before, where the density has a column order.
        """
        place = self.place[column]
        usual = np.tile(self.outline.quantiles[place], (len(rows), 1))
        mean, off = self.means[rows, place][:, None], self.outline.deviations[place]
        told = mean + off * np.array([-1.5, 0.0, 1.5])
        between = mean + off * np.array([-0.6, 0.6])
        median = self._ordered(column, rows) if ordered else None
        if median is not None:
            between[:, :1] = median
        if not ordered:
            # Where a peak is all that is asked for, half of it will do.
            return np.hstack([usual[:, ::2], told, between])
        every = np.hstack([usual, told, between])
        own = np.where(np.isnan(self.values[rows, place]), every[:, 0], self.values[rows, place])[:, None]
        low, high = (edge(np.hstack([every, own]), axis=1)[:, None] for edge in (np.min, np.max))
        return np.hstack([every, low - _BEYOND, high + _BEYOND])

    def _ordered(self, column: int, rows: Rows) -> Array | None:
        """The median given the columns before, (n, 1); None where the density has no column order."""
        if not self.density.triangular:
            return None
        found = self._medians[rows, self.place[column]]
        # Where the column has no value, a value would be another pattern, in which it has a median of its own.
        gone = np.flatnonzero(np.isnan(found))
        for start in range(0, len(gone), _FEW):
            piece = rows[gone[start : start + _FEW]]
            full = torch.from_numpy(np.concatenate([piece, np.repeat(piece[:1], _FEW - len(piece))]))
            with torch.inference_mode():
                some = self.density.column_quantile(self.inputs.take(full), column, 0.5)
            found[gone[start : start + _FEW]] = some.double().numpy()[: len(piece)]
        return found[:, None]

    @cached_property
    def _medians(self) -> Array:
        """The median of every number and integer given the columns before it, NaN of a number without a value."""
        found = []
        for start in range(0, len(self.inputs), _MANY):
            rows = torch.arange(start, start + _MANY).clamp(max=len(self.inputs) - 1)
            with torch.inference_mode():
                some = self.density.column_quantiles(self.inputs.take(rows), 0.5)
            found.append(some.double().numpy()[: len(self.inputs) - start])
        return np.concatenate(found)
