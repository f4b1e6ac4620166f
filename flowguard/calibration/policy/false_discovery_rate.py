"""Flag so that few of the flagged records are ordinary: a false discovery rate, per batch or pooled over batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from numpy.typing import ArrayLike, NDArray

from flowguard.calibration.conformal import size_needed, smallest_level
from flowguard.calibration.p_values import Kind, PValues
from flowguard.calibration.policy import lond
from flowguard.calibration.policy.fields import only, rate, switch
from flowguard.calibration.policy.policy import Array, Decision, History, Policy, percent
from flowguard.errors import CalibrationError

_WHY: Mapping[Kind, str] = {
    "smoothed": "their ties are broken at random, after which they need not be positively dependent; "
    "give the p-values that count ties against the record",
    "cross": "each comes from several models, and they are valid only up to a factor of 2; "
    "hold out calibration records, or use false_alarm_rate or budget",
    "weighted": "they are approximate, and their weights differ; "
    "calibrate on records like the batch with equal weights, or use false_alarm_rate or budget",
    "extrapolated": "some lie below 1 / (n + 1), where a model of the tail or a lot gave them and no rank; "
    "give the ranks themselves and hold out more calibration records, or use false_alarm_rate or budget",
}


@dataclass(frozen=True)
class FalseDiscoveryRate(Policy):
    """Flag so that at most `rate` of the flagged records are expected to be ordinary.

    Per batch by Benjamini & Hochberg (1995): the expected share of ordinary records among those flagged in a batch, 0
    where there are none, is at most rate, as split-conformal p-values are positively dependent (PRDS: Bates, Candès,
    Lei, Romano & Sesia, "Testing for outliers with conformal p-values", Annals of Statistics 51, 2023). `pooled`: the
    same of all records flagged in a sequence of batches, see `lond.decide`; rates per batch do not add up to that, as
    batches without anomalies, where anything is flagged, flag ordinary records alone. Groups with references of their
    own change nothing. p-values that are no ranks among held-out records are refused with a CalibrationError.

    `horizon`: which shares of the budget batches get where it is pooled, see `lond.share`. A sequence of batches must
    keep its own, so it is in the plain JSON, which is sealed with a version. Where that has none, it is None: that of
    versions sealed before there was one. A new version's is today's, see `afresh`.

    >>> FalseDiscoveryRate(0.2).decide([0.9, 0.01, 0.15], n_reference=99).flag.tolist()
    [False, True, False]
    >>> pooled = FalseDiscoveryRate(0.2, pooled=True)
    >>> pooled.decide([0.9, 0.001, 0.15], n_reference=999, history=History(t=2, discoveries=5)).discoveries
    1
    """

    rate: float
    pooled: bool = False
    horizon: int | None = lond.HORIZON
    name: ClassVar[str] = "fdr"

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise CalibrationError(f"fdr is {self.rate}; expected a number between 0 and 1")
        h = self.horizon
        if h is not None and (isinstance(h, bool) or not isinstance(h, int) or h < 1):
            raise CalibrationError(f"horizon is {h!r}; expected over how many batches the budget is spread, 1 or more")
        if not self.pooled and h != lond.HORIZON:
            raise CalibrationError(f"horizon is {h!r} without pooled; a rate per batch spreads no budget over batches")

    @property
    def words(self) -> str:
        return f"false discovery rate {percent(self.rate)}{' over all batches' if self.pooled else ' per batch'}"

    @property
    def size_wanted(self) -> int:
        # At a hundredth of the rate one record in a hundred can be flagged by itself.
        return size_needed(self.rate / 100)

    @property
    def reach(self) -> float:
        return self.rate

    def check(self, n: int) -> None:
        """Raise `CalibrationError` when `n` reference records cannot flag anything, whatever the batch."""
        if smallest_level(n) > self.rate:
            raise CalibrationError(
                f"fdr {self.rate:g} needs {size_needed(self.rate):,} calibration records in the reference at the very "
                f"least; there are {n:,}, whose smallest level is {smallest_level(n):.3g}; "
                "hold out more records, or ask for a higher rate"
            )

    def in_turn(
        self, p_value: ArrayLike | PValues, *, n_reference: ArrayLike
    ) -> Callable[[int, int], tuple[int, float]]:
        """The decision on one batch as a function (t, discoveries_before) -> (discoveries, level).

        What a store of error budgets calls while it holds the sequence; a record is flagged where its p-value is at
        most the level.

        >>> FalseDiscoveryRate(0.2, pooled=True).in_turn([0.9, 0.001], n_reference=999)(1, 19)[0]
        1
        """

        def decided(t: int, discoveries_before: int) -> tuple[int, float]:
            decision = self.decide(p_value, n_reference=n_reference, history=History(t, discoveries_before))
            return decision.discoveries, decision.level

        return decided

    def afresh(self) -> Self:
        return replace(self, horizon=lond.HORIZON)

    def to_dict(self) -> dict[str, Any]:
        kept = {"horizon": self.horizon} if self.pooled and self.horizon is not None else {}
        return {self.name: self.rate, "pooled": self.pooled, **kept}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        if not switch(given, "pooled"):
            only(given, cls.name, "pooled")
            return cls(rate(given, cls.name))
        only(given, cls.name, "pooled", "horizon")
        return cls(rate(given, cls.name), pooled=True, horizon=given.get("horizon"))

    def _decide(
        self,
        p: PValues,
        smallest: Array,
        *,
        score: Array | None,
        record_id: NDArray[Any] | None,
        history: History | None,
    ) -> Decision:
        if p.kind != "split":
            raise CalibrationError(f"fdr cannot be kept with these p-values ({p.kind}): {_WHY[p.kind]}")
        if not self.pooled:
            return lond.by_step_up(
                p.values,
                smallest,
                self.rate / max(1, len(p)),
                guarantee=f"Of a batch's flagged records, at most {percent(self.rate)} are expected to be ordinary.",
            )
        if history is None:
            raise ValueError("a pooled false discovery rate needs the history: the place of the batch in its budget")
        return lond.decide(
            p.values,
            self.rate,
            t=history.t,
            discoveries_before=history.discoveries,
            n_reference=1 / smallest - 1,
            horizon=self.horizon,
        )
