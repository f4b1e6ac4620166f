"""A channel: one thing about a batch that is watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Part = Literal["score", "conditional", "feature", "context", "group"]
"""Where it is looked for. `score` and `conditional` are about p(features | context), `context` and `group` about
p(context), `feature` about one column by itself."""

Measure = Literal["level", "spread", "mix", "missing", "unseen", "repeats"]
"""What is looked at: how high, how far apart, the shares of levels, missing, never seen, standing still."""

FAULTS = ("unseen", "repeats", "missing")
"""Measures that say what broke by themselves."""


@dataclass(frozen=True, order=True)
class Channel:
    """`column` is "" for the score and the groups.

    >>> Channel("feature", "missing", "dep_delay").key
    'feature/missing/dep_delay'
    >>> Channel.from_key("score/level/").part
    'score'
    """

    part: Part
    measure: Measure
    column: str = ""

    @property
    def key(self) -> str:
        return f"{self.part}/{self.measure}/{self.column}"

    @classmethod
    def from_key(cls, key: str) -> Channel:
        part, measure, column = key.split("/", 2)
        if part not in get_args(Part) or measure not in get_args(Measure):
            raise ValueError(f"{key!r} is no channel; expected part/measure/column")
        return cls(part, measure, column)  # type: ignore[arg-type]

    @property
    def conditional(self) -> bool:
        """Whether it is about the features given their context."""
        return self.part in ("score", "conditional")

    @property
    def of_context(self) -> bool:
        """Whether it is about which contexts there are."""
        return self.part in ("context", "group") and self.measure in ("level", "mix")
