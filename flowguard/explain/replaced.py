"""A column of a record given all its others: exact, from the joint density with its value replaced.

p(x_i | rest, context) is proportional to p(record with x_i replaced | context) as a function of x_i. So it needs no
column order: it exists for every family, and for mixtures of densities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowguard.explain.conditional import FIRST, MISSING, VALUE, Conditional
from flowguard.explain.outline import Outline, axis_values
from flowguard.explain.profile import Profile

if TYPE_CHECKING:
    from flowguard.density import Inputs, RecordDensity
    from flowguard.encoding import Encoder

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
LogProb = Callable[["Inputs"], Tensor]

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

    `inputs` are the records, in float64 on the CPU. `log_prob` may stand in for the density's own (a cheaper one), or
    `scout` find the places at which the density is asked once, where that is costly.
    """

    def __init__(
        self,
        density: RecordDensity,
        encoder: Encoder,
        inputs: Inputs,
        *,
        outline: Outline | None = None,
        log_prob: LogProb | None = None,
        scout: LogProb | None = None,
    ) -> None:
        self.density, self.encoder, self.inputs = density, encoder, inputs
        columns = density.discrete.columns
        self.kinds = [column.kind for column in columns]
        self.numbers = np.array([i for i, kind in enumerate(self.kinds) if kind == "number"], dtype=np.intp)
        self.integers = np.array([i for i, kind in enumerate(self.kinds) if kind == "integer"], dtype=np.intp)
        self.valued = np.concatenate([self.numbers, self.integers])
        self.place = {int(i): place for place, i in enumerate(self.valued)}
        self.log_prob, self.scout = log_prob or density.log_prob, scout
        context = inputs.context.double().numpy()
        self.outline = outline or Outline.plain(len(self.valued), context.shape[1])
        self.values = axis_values(inputs, self.numbers, self.integers)
        self.off = self.outline.off(self.values, context)
        self.means = self.outline.given_others(self.values, self.off)
        self.log_observed = self.evaluate([inputs])[0]

    def among(self, inputs: Inputs) -> Conditionals:
        """Of other records, in the same way."""
        return Conditionals(
            self.density, self.encoder, inputs, outline=self.outline, log_prob=self.log_prob, scout=self.scout
        )

    def under(self, log_prob: LogProb) -> Conditionals:
        """Of the same records under another density of them."""
        return Conditionals(self.density, self.encoder, self.inputs, outline=self.outline, log_prob=log_prob)

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

    def with_values(self, rows: Rows, column: int, axis: Array) -> tuple[Inputs, Array, Array]:
        """The records at `rows` with each of the values `axis` (n, k) in one column, n k of them, row by row.

        Returned with the values that these are on the axis, of an integer the lower edge of its step, and the log of
        the step's width, which is 0 of a number; (n, k) each. A value that is an atom has NaN for both.
        """
        feature = self.encoder.features[column]
        coded = feature.encode(pa.array(feature.decode(axis.reshape(-1))), None)
        assert coded.first is not None
        assert coded.second is not None
        wide = np.zeros(axis.size) if self.kinds[column] == "number" else coded.second
        point, log_width = (
            np.where(coded.codes == VALUE, part, np.nan).reshape(axis.shape) for part in (coded.first, wide)
        )
        return self._placed(self._repeated(rows, axis.shape[1]), column, coded), point, log_width

    def with_codes(self, rows: Rows, column: int, codes: NDArray[np.int64]) -> Inputs:
        """The records at `rows` with each of `codes` (n, k) in one column, n k of them, row by row; none is a value."""
        given = self._repeated(rows, codes.shape[1])
        if self.kinds[column] == "category":
            replaced = given.codes.clone()
            replaced[:, column] = torch.from_numpy(codes.reshape(-1))
            return replace(given, codes=replaced)
        feature = self.encoder.features[column]
        levels = [None if code == MISSING else feature.level_of(int(code)) for code in codes.reshape(-1)]
        return self._placed(given, column, feature.encode(pa.array(levels, pa.float64()), None))

    def _repeated(self, rows: Rows, times: int) -> Inputs:
        return self.inputs.take(torch.from_numpy(np.repeat(np.asarray(rows, dtype=np.int64), times)))

    def _placed(self, given: Inputs, column: int, coded: object) -> Inputs:
        place, m = self.place[column], len(self.numbers)

        def put(part: Tensor | None, at: int, values: Array | None) -> Tensor | None:
            if part is None or values is None:
                return part
            part = part.clone()
            part[:, at] = torch.from_numpy(values)
            return part

        one: dict[str, Tensor | None] = {"codes": put(given.codes, column, coded.codes)}  # type: ignore[attr-defined]
        first, second = coded.first, coded.second  # type: ignore[attr-defined]
        one["line"] = put(given.line, place, coded.line)  # type: ignore[attr-defined]
        if place < m:
            one["x"] = put(given.x, place, first)
            one["log_stretch"] = put(given.log_stretch, place, coded.line_slope - second)  # type: ignore[attr-defined]
        else:
            one["lower"] = put(given.lower, place - m, first)
            one["log_width"] = put(given.log_width, place - m, second)
        return replace(given, **one)  # type: ignore[arg-type]

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
        if self.scout is None or not rounds:
            return self._searched(asked, rounds, [None] * len(asked), ordered=rounds > 0)
        ahead = self.under(self.scout)._searched(asked, rounds, [None] * len(asked), ordered=True)
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
            laid = [self.with_values(asked[p][1], asked[p][0], axis) for p, axis in zip(places, tried, strict=True)]
            logs = self.evaluate([inputs for inputs, _, _ in laid])
            for place, (_, points, wide), log in zip(places, laid, logs, strict=True):
                log = log.reshape(points.shape)
                found[place] = self._joined(*asked[place], None if anew else found[place], points, wide, log)
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
