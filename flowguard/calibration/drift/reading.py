"""What a batch says of one column."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from flowguard.calibration.drift.records import Array


@dataclass(frozen=True)
class Reading:
    """What a batch says of one column: by measure, the statistic that is ranked (NaN: none) and its plain figure.

    `figures` has the level's median, the shares missing and unseen, that of the commonest value, or of the level whose
    share moved most; `details` names the value or level. `means` are what the context explains scores by.
    """

    statistics: dict[str, float]
    figures: dict[str, float]
    details: dict[str, str] = field(default_factory=dict)
    means: Array = field(default_factory=lambda: np.zeros(0))
