"""Flag policies: the rule that turns p-values into flags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.conformal import size_needed, smallest_level
from flowguard.errors import CalibrationError


@dataclass(frozen=True)
class FalseAlarmRate:
    """Flag what is as strange as the strangest `rate` of ordinary records: p_value <= rate.

    Guaranteed for each record that is exchangeable with the calibration records: P(flag) <= rate.
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise CalibrationError(f"false_alarm_rate is {self.rate}; expected a number between 0 and 1")

    def check(self, n: int) -> None:
        """Raise `CalibrationError` when `n` reference records cannot reach the rate."""
        if smallest_level(n) > self.rate:
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
        self.check(n)
        allowed = int(self.rate * (n + 1))  # the greatest k with k / (n + 1) <= rate, but for rounding
        while (allowed + 1) / (n + 1) <= self.rate:
            allowed += 1
        while allowed / (n + 1) > self.rate:
            allowed -= 1
        return float(reference[n - allowed])
