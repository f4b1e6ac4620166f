"""Flag as many records as people can look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.extrapolate import FEWEST
from flowguard.calibration.p_values import PValues
from flowguard.calibration.policy.fields import only, switch
from flowguard.calibration.policy.policy import Array, Decision, History, Policy, percent
from flowguard.errors import CalibrationError

_WANTED = 100


@dataclass(frozen=True)
class Budget(Policy):
    """Flag the `count` strangest records of a batch: those with the smallest p-values, then the highest scores.

    What is still tied is taken in the order of the record ids. No error rate is promised; `level` and the decision's
    `guarantee` say which rate the count came to: the greatest p-value flagged. Any kind of p-value will do.
    With `extrapolate` those below 1 / (n + 1) come from a model of the tail, so that the strangest of different cells
    compare.

    >>> decision = Budget(1).decide([0.1, 0.1, 0.5], score=[3.0, 4.0, 1.0], record_id=["a", "b", "c"], n_reference=9)
    >>> decision.flag.tolist(), decision.level
    ([False, True, False], 0.1)
    """

    count: int
    extrapolate: bool = False
    name: ClassVar[str] = "budget"

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int | np.integer) or self.count < 1:
            raise CalibrationError(f"budget is {self.count!r}; expected how many records to flag, 1 or more")

    @property
    def words(self) -> str:
        return f"the {self.count:,} strangest of a batch{', extrapolated' if self.extrapolate else ''}"

    @property
    def extrapolates(self) -> bool:
        return self.extrapolate

    @property
    def size_wanted(self) -> int:
        return FEWEST if self.extrapolate else _WANTED

    @property
    def reach(self) -> float:
        return 1.0

    def check(self, n: int) -> None:
        """Refuse a reference too small for a model of the tail; strangest records exist whatever the reference."""
        if self.extrapolate and n < FEWEST:
            raise CalibrationError(
                f"budget {self.count:,} with extrapolate needs {FEWEST:,} calibration records in the reference; there "
                f"are {n:,}, too few for a model of the tail; hold out more records, or leave out extrapolate"
            )

    def to_dict(self) -> dict[str, Any]:
        return {self.name: int(self.count)} | ({"extrapolate": True} if self.extrapolate else {})

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        only(given, cls.name, "extrapolate")
        return cls(given[cls.name], switch(given, "extrapolate"))

    def _decide(
        self,
        p: PValues,
        smallest: Array,
        *,
        score: Array | None,
        record_id: NDArray[Any] | None,
        history: History | None,
    ) -> Decision:
        flag = _strangest(self.count, p.values, score, record_id)
        m, chosen = len(p), int(flag.sum())
        level = float(p.values[flag].max()) if chosen else 0.0
        whole = m > 0 and chosen == m
        notes = [f"The budget of {self.count:,} covers the whole batch, so all of it is flagged."] if whole else []
        if p.extrapolated is not None and (beyond := int(p.extrapolated[flag].sum())):
            notes.append(f"The p-values of {beyond:,} flagged records rest on the model of the tail.")
        rate = f" ({percent(chosen / m)}), those with a p-value up to {level:.3g}" if m else ""
        return Decision(
            flag=flag,
            level=level,
            note=" ".join(notes) or None,
            guarantee=f"No error rate is promised: the {chosen:,} strangest of {m:,} records are flagged{rate}.",
        )


def _strangest(count: int, p: Array, score: Array | None, record_id: NDArray[Any] | None) -> NDArray[np.bool_]:
    """The `count` first by p-value, score and record id, (n,); ValueError where they say nothing of who is first."""
    for name, column in (("scores", score), ("record ids", record_id)):
        if column is not None and column.shape != p.shape:
            raise ValueError(f"{len(p)} p-values but {name} of shape {column.shape}")
    if score is not None and np.isnan(score).any():
        raise ValueError("a score is NaN and has no rank")
    flag = np.zeros(len(p), dtype=bool)
    if count >= len(p):
        return ~flag
    strangeness = [p] if score is None else [-score, p]
    if record_id is None:
        order = np.lexsort(strangeness)
        last, next_one = order[count - 1], order[count]
        if all(key[last] == key[next_one] for key in strangeness):
            raise ValueError("records are tied where the budget ends, and there are no record ids to tell them apart")
    else:
        ids = record_id.astype(str) if record_id.dtype == object else record_id
        order = np.lexsort([ids, *strangeness])
    flag[order[:count]] = True
    return flag
