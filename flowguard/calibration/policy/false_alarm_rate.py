"""Flag at a fixed level: each ordinary record is flagged with at most that probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration import extrapolate as tail
from flowguard.calibration.conformal import size_needed, smallest_level
from flowguard.calibration.p_values import PValues
from flowguard.calibration.policy.fields import only, rate, switch
from flowguard.calibration.policy.policy import Array, Decision, History, Policy, percent
from flowguard.errors import CalibrationError


@dataclass(frozen=True)
class FalseAlarmRate(Policy):
    """Flag what is as strange as the strangest `rate` of ordinary records: p_value <= rate.

    Guaranteed for each record that is exchangeable with the calibration records: P(flag) <= rate. With `extrapolate` it
    may be below 1 / (n + 1), where it rests on a model of the tail instead.

    >>> decision = FalseAlarmRate(0.1).decide([0.5, 0.1], n_reference=9)
    >>> decision.flag.tolist(), decision.guarantee
    ([False, True], 'An ordinary record is flagged with probability at most 10 %.')
    """

    rate: float
    extrapolate: bool = False
    name: ClassVar[str] = "false_alarm_rate"

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise CalibrationError(f"false_alarm_rate is {self.rate}; expected a number between 0 and 1")

    @property
    def words(self) -> str:
        return f"false alarm rate {percent(self.rate)}{', extrapolated' if self.extrapolate else ''}"

    @property
    def extrapolates(self) -> bool:
        return self.extrapolate

    @property
    def size_wanted(self) -> int:
        return tail.size_needed(self.rate) if self.extrapolate else size_needed(self.rate)

    @property
    def reach(self) -> float:
        return self.rate

    def check(self, n: int) -> None:
        """Raise `CalibrationError` when `n` reference records cannot reach the rate."""
        if self.extrapolate:
            if n < self.size_wanted:
                raise CalibrationError(
                    f"false_alarm_rate {self.rate:g} with extrapolate needs {self.size_wanted:,} calibration records "
                    f"in the reference; there are {n:,}, too few for a model of the tail that reaches so far; "
                    "hold out more records, or ask for a higher rate"
                )
        elif smallest_level(n) > self.rate:
            raise CalibrationError(
                f"false_alarm_rate {self.rate:g} needs {size_needed(self.rate):,} calibration records "
                f"in the reference; there are {n:,}, whose smallest level is {smallest_level(n):.3g}; "
                "hold out more records, or ask for a higher rate"
            )

    def flag(self, p_value: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which records are flagged; NaN raises ValueError, since it would pass for ordinary."""
        if np.isnan(p_value).any():
            raise ValueError("a p-value is NaN and can be neither flagged nor passed")
        return np.asarray(p_value <= self.rate)

    def threshold(self, reference: NDArray[np.float64]) -> float:
        """The score above which (strictly) records are flagged, given sorted reference scores."""
        n = len(reference)
        FalseAlarmRate(self.rate).check(n)
        allowed = int(self.rate * (n + 1))  # the greatest k with k / (n + 1) <= rate, but for rounding
        while (allowed + 1) / (n + 1) <= self.rate:
            allowed += 1
        while allowed / (n + 1) > self.rate:
            allowed -= 1
        return float(reference[n - allowed])

    def to_dict(self) -> dict[str, Any]:
        return {self.name: self.rate} | ({"extrapolate": True} if self.extrapolate else {})

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        only(given, cls.name, "extrapolate")
        return cls(rate(given, cls.name), switch(given, "extrapolate"))

    def _decide(
        self,
        p: PValues,
        smallest: Array,
        *,
        score: Array | None,
        record_id: NDArray[Any] | None,
        history: History | None,
    ) -> Decision:
        short = smallest > self.rate
        # Below 1 / (n + 1) the tail model and the lot for ties have levels of their own.
        beyond = len(p) > 0 and p.kind in ("extrapolated", "smoothed")
        none = bool(short.all()) and not beyond
        notes = [self._too_small(short, smallest, p)] if short.any() else []
        if p.kind == "weighted":
            notes.append("The p-values are weighted, so the rate holds only as well as the weights describe the batch.")
        return Decision(
            flag=self.flag(p.values),
            level=0.0 if none else self.rate,
            note=" ".join(notes) or None,
            guarantee=self._guarantee(p, exact=len(p) > 0 and not short.any()),
        )

    def _too_small(self, short: NDArray[np.bool_], smallest: Array, p: PValues) -> str:
        most = int(np.rint(1 / smallest[short].min() - 1))
        whom = "each record" if short.all() else f"{int(short.sum()):,} of {len(short):,} records"
        why = (
            f"The reference of {whom} has too few calibration records for the rate {self.rate:g}: at most {most:,}, "
            f"and {size_needed(self.rate):,} are needed"
        )
        if p.kind == "extrapolated":
            return f"{why}; flags there rest on the model of the tail."
        if p.kind == "smoothed":
            return f"{why}; flags there are drawn by lot among the strangest."
        return f"{why}; {'nothing' if short.all() else 'none of them'} can be flagged."

    def _guarantee(self, p: PValues, *, exact: bool) -> str:
        # At a level that ranks reach, a tail below them changes nothing.
        bound = self.rate if exact and p.kind == "extrapolated" else p.bound(self.rate)
        if bound is not None:
            return f"An ordinary record is flagged with probability at most {percent(bound)}."
        if p.kind == "weighted":
            return f"An ordinary record is flagged with probability of about {percent(self.rate)}."
        return (
            f"An ordinary record is flagged with probability of about {percent(self.rate)}, if the model of the tail "
            "holds beyond the calibration records."
        )
