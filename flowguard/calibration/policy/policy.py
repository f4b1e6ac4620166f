"""The contract of policies: from the p-values of a batch to its flags, and what they promise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowguard.calibration.p_values import PValues, labelled

Array = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """Where a batch stands among those of one error budget: the `t`-th from 1, after so many `discoveries`."""

    t: int
    discoveries: int

    def __post_init__(self) -> None:
        if self.t < 1 or self.discoveries < 0:
            raise ValueError(f"batches count from 1 and discoveries from 0, not {self.t} and {self.discoveries}")


@dataclass(frozen=True, eq=False)
class Decision:
    """What a policy made of one batch.

    `flag` (n,). `level`: the p-value at or below which records were flagged, 0.0 where no record was or could be.
    `note`: a sentence for people where nothing could be flagged, or a guarantee is void; else None. `guarantee`: one
    plain sentence.
    """

    flag: NDArray[np.bool_]
    level: float
    note: str | None
    guarantee: str

    @property
    def discoveries(self) -> int:
        """How many records are flagged."""
        return int(self.flag.sum())


class Policy(ABC):
    """The rule that turns the p-values of a batch into flags.

    Laws, tested on every policy: of two records with the same reference size, the one with the smaller p-value is
    flagged if the other is; flags do not depend on the order of the rows; NaN raises ValueError; an empty batch has no
    flags; `read_policy(policy.to_dict()) == policy`. `name` is the word in a pipeline file.
    """

    name: ClassVar[str]

    @property
    def extrapolates(self) -> bool:
        """Whether p-values below 1 / (n + 1) come from a model of the tail, see `extrapolate.Tail`."""
        return False

    @property
    @abstractmethod
    def words(self) -> str:
        """The policy in a few words, for people."""

    @property
    @abstractmethod
    def size_wanted(self) -> int:
        """How many reference records this policy takes to be of use."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """No record with a greater p-value is ever flagged."""

    @abstractmethod
    def check(self, n: int) -> None:
        """Raise `CalibrationError` when `n` reference records can flag nothing under this policy, ever."""

    def decide(
        self,
        p_value: ArrayLike | PValues,
        *,
        score: ArrayLike | None = None,
        record_id: ArrayLike | Sequence[object] | None = None,
        n_reference: ArrayLike,
        history: History | None = None,
    ) -> Decision:
        """The decision on one batch.

        `p_value` (n,), labelled or bare, see `labelled`; `n_reference` the reference records that each was ranked
        among, (n,) where groups differ, else one number. `score` (n,), higher = stranger, and `record_id` (n,) are what
        ties are broken by where a policy has to. `history` places the batch in an error budget that batches share.

        Errors: ValueError for NaN and for lengths that differ, CalibrationError for p-values that cannot carry what
        the policy promises.
        """
        values = p_value.values if isinstance(p_value, PValues) else np.asarray(p_value, dtype=np.float64)
        sizes = np.asarray(n_reference, dtype=np.float64)
        if np.isnan(sizes).any() or (sizes < 0).any():
            raise ValueError("a reference has a number of records, 0 or more")
        smallest = 1 / (1 + (np.full(len(values), sizes) if sizes.ndim == 0 else sizes))
        return self._decide(
            labelled(p_value, smallest, extrapolate=self.extrapolates),
            smallest,
            score=None if score is None else np.asarray(score, dtype=np.float64),
            record_id=None if record_id is None else np.asarray(record_id),
            history=history,
        )

    @abstractmethod
    def _decide(
        self,
        p: PValues,
        smallest: Array,
        *,
        score: Array | None,
        record_id: NDArray[Any] | None,
        history: History | None,
    ) -> Decision:
        """`decide` of checked p-values, and the `smallest` p-value that each record's reference can give, (n,)."""

    def afresh(self) -> Self:
        """The policy as a version that is yet to be made has it, not one whose plain JSON was sealed before."""
        return self

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, as in a pipeline file."""

    @classmethod
    @abstractmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """The policy that wrote it; CalibrationError names the key that is wrong."""


def percent(rate: float) -> str:
    """A rate as people read it.

    >>> percent(0.001), percent(0.05)
    ('0.1 %', '5 %')
    """
    return f"{100 * rate:.3g} %"
