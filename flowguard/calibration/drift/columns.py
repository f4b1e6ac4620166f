"""A column of either kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowguard.calibration.drift.levels import Levels
from flowguard.calibration.drift.number import Number

Column = Number | Levels


def column_from_json(state: Mapping[str, Any]) -> Column:
    return Number.from_json(state) if state["kind"] == Number.kind else Levels.from_json(state)
