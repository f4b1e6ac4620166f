"""What a feature can be: a number, an integer or a category, and the codes it took in training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal["number", "integer", "category"]

VALUE, MISSING, FIRST = 0, 1, 2
"""Codes: 0 is a value beside the named ones (of a category: a level never seen), 1 is missing, 2.. are the atoms of a
number, the levels of a category, or, 2 alone, a number off an integer's lattice."""

_MOST_NEW = 0.5


@dataclass(frozen=True)
class Column:
    """One feature as the density knows it: its kind, and how many training records had each code.

    An integer's points lie `spacing` apart on its straight scale, one of them at `origin` (see `Encoded.line`).
    `novel` is the probability that a category's level was never seen. Any other code that never occurred in n records
    has probability 1/(n + 2), the Laplace estimate: improbable, never impossible.

    Errors: ValueError for an unknown kind, too few counts, or counts that are all zero.

    Example:
        >>> column = Column.from_dict({"kind": "number", "counts": [90, 0, 8]})
        >>> column.live, [round(p, 4) for p in column.never()]
        ((0, 2), [0.0, 0.01, 0.0])
    """

    kind: Kind
    counts: tuple[int, ...]
    novel: float = 0.0
    spacing: float = 1.0
    origin: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"unknown kind {self.kind!r}; known: {', '.join(get_args(Kind))}")
        least = 3 if self.kind == "integer" else 2
        if len(self.counts) < least or min(self.counts) < 0 or not sum(self.counts):
            raise ValueError(f"a column of kind {self.kind} has at least {least} counts, some above 0: {self.counts}")
        if not 0 <= self.novel <= 1:
            raise ValueError(f"novel is a probability, not {self.novel}")

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Column:
        """The column that plain JSON describes."""
        counts = tuple(int(count) for count in state["counts"])
        rest = {name: float(state[name]) for name in ("novel", "spacing", "origin") if name in state}
        return cls(state["kind"], counts, **rest)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        whole = {"spacing": self.spacing, "origin": self.origin} if self.kind == "integer" else {}
        return {"kind": self.kind, "counts": list(self.counts), "novel": self.novel, **whole}

    @property
    def rows(self) -> int:
        """Training records."""
        return sum(self.counts)

    @property
    def live(self) -> tuple[int, ...]:
        """The codes that occurred in training."""
        return tuple(code for code, count in enumerate(self.counts) if count)

    @property
    def rare(self) -> bool:
        """Whether nothing but being missing is to be learned of its codes."""
        return self.kind != "category" and all(count == 0 for count in self.counts[FIRST:])

    def never(self) -> list[float]:
        """The probability of each code that never occurred, 0 for the others; they sum to a half at most."""
        laplace = 1 / (self.rows + 2)
        chances = [0.0 if count else laplace for count in self.counts]
        if self.kind == "category" and not self.counts[VALUE]:
            chances[VALUE] = max(self.novel, laplace)
        total = math.fsum(chances)
        return [chance * min(1.0, _MOST_NEW / total) for chance in chances] if total else chances

    def shares(self) -> list[float]:
        """The probability of every code by frequency alone; above 0, but for a level that cannot be new, and 1 in all.

        >>> [round(share, 3) for share in Column("category", (0, 0, 60, 38), novel=0.1).shares()]
        [0.1, 0.01, 0.545, 0.345]
        """
        never = self.never()
        rest = 1 - math.fsum(never)
        return [chance or rest * count / self.rows for chance, count in zip(never, self.counts, strict=True)]
