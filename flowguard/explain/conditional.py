"""A column of a record given all its others: probabilities of its codes, the density of its values, its contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowguard.explain.profile import Profile

Array = NDArray[np.float64]

VALUE, MISSING, FIRST = 0, 1, 2
_BY_RECORD = ("codes", "code_logs", "observed", "axis", "value_log")


@dataclass(frozen=True, eq=False)
class Conditional:
    """p(x_i | rest, context) of one column i in n records.

    `codes` (n, c) are those that were tried, -1 for none, and `code_logs` (n, c) their joint log-likelihoods, that of
    a value (code 0 of a number or integer) integrated over `profile`, which is None for a category. `observed` (n,) is
    the place of the record's own code among them, and `axis` (n,) its value on the density's axis, where it has one.

    Of a value, log-likelihoods are densities on the axis of the encoder's front, where units and skew count for
    nothing. They do not compare with probabilities, so `contrast` is the log of how much likelier the best code is
    than the observed one, plus, of a value, that of its best value: 0 or more.
    """

    codes: NDArray[np.int64]
    code_logs: Array
    observed: NDArray[np.intp]
    profile: Profile | None
    axis: Array
    value_log: Array

    @property
    def chances(self) -> Array:
        """The probability of each code, (n, c); of a category with more levels than were tried, among those."""
        top = self.code_logs.max(axis=1, keepdims=True)
        parts = np.exp(np.maximum(self.code_logs - np.where(np.isfinite(top), top, 0.0), -700.0))
        parts = np.where(self.codes >= 0, parts, 0.0)
        return np.asarray(parts / np.cumsum(parts, axis=1)[:, -1:])

    @property
    def best_code(self) -> NDArray[np.int64]:
        """The likeliest code, (n,)."""
        return np.take_along_axis(self.codes, self.code_logs.argmax(axis=1)[:, None], 1)[:, 0]

    @property
    def contrast(self) -> Array:
        """log of how much likelier the record becomes if this column alone took its best value, (n,)."""
        mine = np.take_along_axis(self.code_logs, self.observed[:, None], 1)[:, 0]
        with np.errstate(invalid="ignore"):
            found = self.code_logs.max(axis=1) - mine
            if self.profile is not None:
                has = self._observed_code == VALUE
                found = found + np.where(has, self.profile.peak - self.value_log, 0.0)
        # What has no number as its likelihood is the strangest there is.
        return np.where(np.isnan(found), np.inf, np.maximum(found, 0.0))

    def take(self, rows: NDArray[np.intp]) -> Conditional:
        """The same of some of the records."""
        its = {name: getattr(self, name)[rows] for name in _BY_RECORD}
        profile = None if self.profile is None else Profile(self.profile.points[rows], self.profile.logs[rows])
        return Conditional(profile=profile, **its)

    @staticmethod
    def join(parts: Sequence[Conditional]) -> Conditional:
        """Those of one column in several groups of records, in order."""
        its = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _BY_RECORD}
        profiles = [part.profile for part in parts if part.profile is not None]
        if not profiles:
            return Conditional(profile=None, **its)
        points, logs = ([getattr(one, name) for one in profiles] for name in ("points", "logs"))
        return Conditional(profile=Profile(np.concatenate(points), np.concatenate(logs)), **its)

    @property
    def _observed_code(self) -> NDArray[np.int64]:
        return np.take_along_axis(self.codes, self.observed[:, None], 1)[:, 0]
