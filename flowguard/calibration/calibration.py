"""The calibration of one version: from the parts of log-likelihoods to scores, p-values and flags."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowguard.calibration import conformal, layout
from flowguard.calibration.aging import Aging
from flowguard.calibration.cells import Cells
from flowguard.calibration.coverage import RateCheck, check_rate
from flowguard.calibration.extrapolate import Tail
from flowguard.calibration.halves import reference_half
from flowguard.calibration.p_values import Kind, PValues
from flowguard.calibration.parts import Parts
from flowguard.calibration.policy import Decision, FalseAlarmRate, History, Policy
from flowguard.calibration.ranks import ranked, size_of, threshold_at
from flowguard.calibration.scores import Score, ScoreName, by_name
from flowguard.calibration.support import check_support, tails_of
from flowguard.calibration.too_many import FlaggedShare, too_many

Array = NDArray[np.float64]

_CHECKED = 0.05

Ties = Literal["conservative", "random"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Fitted on held-out records that were neither trained on nor are being judged.

    `scorer` is what records are ranked by, fitted on one half of the held-out records where it ranks among them.
    `scores` (size,) are the scores of the conformal reference, cell after cell in the order of `cells.names` and sorted
    within each, `score_units` (size,) the unit of each as a number, `sizes` the records of each cell. `counts` holds
    the held-out records per pattern, `top` the highest reference score whose pattern is not its own alone, `rows` and
    `units` how many records and units were held out, `dates` their first and last date as text where given.
    `tails` are those of the cells' scores, in their order, where the policy extrapolates; else there are none. `ties`
    with reference scores count against a record, or are broken at random by its id. `aging` says how records count by
    their age, `days` (size,) are the day numbers of the reference for that, and `weights` (size,) what comes of it for
    one batch, see `rolling.rolled`.

    >>> rng = np.random.default_rng(0)
    >>> held_out = Parts(np.zeros(200), rng.normal(size=200), np.full(200, "1"))
    >>> calibration = Calibration.fit(held_out, np.arange(200), policy=FalseAlarmRate(0.05))
    >>> score = calibration.score(Parts([0.0, 0.0], [0.0, -9.0], ["1", "1"]))
    >>> calibration.decide(calibration.p_value(score)).flag.tolist()
    [False, True]
    """

    scorer: Score
    policy: Policy
    scores: Array
    score_units: NDArray[np.int64]
    counts: Mapping[str, int]
    top: float
    rows: int
    units: int
    cells: Cells = field(default_factory=Cells)
    sizes: tuple[int, ...] = ()
    dates: tuple[str, str] | None = None
    tails: tuple[Tail, ...] = ()
    ties: Ties = "conservative"
    aging: Aging | None = None
    days: NDArray[np.int64] | None = None
    weights: Array | None = None

    # -- fit -------------------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        parts: Parts,
        units: ArrayLike,
        *,
        policy: Policy,
        score: ScoreName = "default",
        cells: Cells | None = None,
        cell: NDArray[np.str_] | None = None,
        dates: Sequence[str] | None = None,
        ties: Ties = "conservative",
        aging: Aging | None = None,
        day: NDArray[np.int64] | None = None,
    ) -> Calibration:
        """From held-out records and the unit (day, entity) of each, (n,).

        With `cells`, `cell` (n,) is the cell of each record, and each cell is a calibration of its own. With `aging`,
        `day` (n,) is the day number of each.

        `score` names the score, see `flowguard.calibration.scores`; by default experts where several are mixed,
        else log_likelihood where all have one pattern and one mass, else mixed. A score that ranks is fitted on one
        half of the records, see `reference_half`, and the other half is the conformal reference; otherwise all records
        are. Raises `CalibrationError` when the records cannot support the policy, or the density has not what the
        score looks at.
        """
        keys = np.asarray(units).astype(str)
        cells = cells or Cells()
        places = cells.places(cell, len(parts))
        if len(keys) != len(parts):
            raise ValueError(f"{len(parts)} records but {len(keys)} units")
        if aging is not None and (day is None or len(day) != len(parts)):
            raise ValueError("with aging, every record has a day")
        distinct, counts = np.unique(parts.pattern, return_counts=True)
        # Where nothing discrete varies, the densities compare as they are.
        plain = len(distinct) == 1 and parts.log_mass.min() == parts.log_mass.max()
        usual = "experts" if parts.expert_mass is not None else "log_likelihood" if plain else "mixed"
        chosen = by_name(score if score != "default" else usual)
        conformal_rows = np.ones(len(parts), dtype=bool)
        if chosen.ranks:
            conformal_rows = reference_half(keys)
        places = places[conformal_rows]
        sizes = np.bincount(places, minlength=len(cells.names))
        check_support(policy, cells, sizes, len(parts), chosen)
        scorer = chosen.fit(parts.take(~conformal_rows))
        reference = parts.take(conformal_rows)
        scores = scorer.score(reference)
        top = float(scores.max())
        if not chosen.ranks:
            alone = np.isin(reference.pattern, distinct[counts == 1])
            top = float(scores[~alone].max()) if not alone.all() else top
            scores = np.where(alone, _beyond(scores, reference, top), scores)
        _, unit_numbers = np.unique(keys, return_inverse=True)
        numbers = unit_numbers[conformal_rows].astype(np.int64)
        order = np.lexsort((numbers, scores, places))
        tails = tails_of(cells, [scores[places == place] for place in range(len(sizes))]) if policy.extrapolates else ()
        return cls(
            scorer=scorer,
            policy=policy,
            scores=scores[order],
            score_units=numbers[order],
            counts=dict(zip(distinct.tolist(), counts.tolist(), strict=True)),
            top=top,
            cells=cells,
            sizes=tuple(sizes.tolist()),
            rows=len(parts),
            units=int(unit_numbers.max()) + 1,
            dates=(str(dates[0]), str(dates[-1])) if dates else None,
            tails=tails,
            ties=ties,
            aging=aging,
            days=None if aging is None or day is None else np.asarray(day)[conformal_rows][order].astype(np.int64),
        )

    # -- figures ---------------------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """The name of the score."""
        return self.scorer.name

    @property
    def size(self) -> int:
        """Records in the conformal reference."""
        return len(self.scores)

    @property
    def smallest_level(self) -> float:
        """The smallest p-value that a rank can give, in the largest cell."""
        return conformal.smallest_level(max(self.sizes))

    @cached_property
    def references(self) -> dict[str, Array]:
        """The sorted scores of each cell's own reference."""
        return dict(zip(self.cells.names, self._by_cell(self.scores), strict=True))

    @property
    def kind(self) -> Kind:
        """How p-values come about, see `PValues`."""
        if self.weights is not None:
            return "weighted"
        return "extrapolated" if self.tails else "smoothed" if self.ties == "random" else "split"

    @property
    def rate_checked(self) -> float:
        """The level that is checked on the hold-out: of a false alarm rate its own, else 5 %."""
        if isinstance(self.policy, FalseAlarmRate):
            return self.policy.rate
        return max(_CHECKED, conformal.smallest_level(min(self.sizes)))

    @cached_property
    def thresholds(self) -> dict[str, float]:
        """Of each cell the score above which (strictly) a p-value is at most `rate_checked`."""
        return {
            name: threshold_at(self.rate_checked, reference, weights=weights, tail=tail)
            for name, reference, weights, tail in self._cellwise()
        }

    @property
    def threshold(self) -> float:
        """The score above which (strictly) a record is flagged, of several cells the lowest one.

        NaN under policies that flag by the whole batch. Ties broken at random also flag some that tie with it.
        """
        return min(self.thresholds.values()) if isinstance(self.policy, FalseAlarmRate) else math.nan

    # -- use -------------------------------------------------------------------------------------------------

    def score(self, parts: Parts) -> Array:
        """Higher = stranger, shape (n,).

        Under log_likelihood the density of a record whose pattern no other record has compares with none: it is at
        least as strange as all whose pattern is shared, plus its -log_mass. That goes for calibration records with a
        pattern of their own as for a record judged now, so they rank among each other and p-values stay valid however
        many patterns are rare. Scores that rank compare patterns themselves.
        """
        scores = self.scorer.score(parts)
        if self.scorer.ranks:
            return scores
        strange = ~np.isin(parts.pattern, list(self.counts))
        return np.where(strange, _beyond(scores, parts, self.top), scores)

    def p_value(
        self, score: ArrayLike, cell: NDArray[np.str_] | None = None, *, key: Iterable[object] | None = None
    ) -> Array:
        """(1 + reference scores of the record's cell at least as high) / (the cell's size + 1), (n,).

        `cell` (n,) is the cell of each record (`cells.of`), and is needed where there are several. Beyond all reference
        scores the cell's tail says it, where the policy extrapolates. `key` are the ids (n,) that break ties, where
        these are random; without it they count against the record. Raises ValueError on NaN.
        """
        return self.p_values(score, cell, key=key).values

    def p_values(
        self, score: ArrayLike, cell: NDArray[np.str_] | None = None, *, key: Iterable[object] | None = None
    ) -> PValues:
        """`p_value`, labelled by how they came about, and which of them a tail gave."""
        score = np.asarray(score, dtype=np.float64)
        found, places = np.ones(len(score)), self.cells.places(cell, len(score))
        beyond = np.zeros(len(score), dtype=bool)
        lot = conformal.uniform_of(key) if self.ties == "random" and key is not None else None
        for place, (_, reference, weights, tail) in enumerate(self._cellwise()):
            mine = places == place
            drawn = None if lot is None else lot[mine]
            found[mine], beyond[mine] = ranked(reference, score[mine], weights=weights, lot=drawn, tail=tail)
        return self.labelled(found, beyond)

    def labelled(self, p_value: ArrayLike, extrapolated: NDArray[np.bool_] | None = None) -> PValues:
        """p-values (n,) of this calibration as `PValues`; `extrapolated` (n,) are those that a tail gave."""
        return PValues(np.asarray(p_value), self.kind, extrapolated=extrapolated if self.tails else None)

    def own(self, p_value: ArrayLike) -> Array | PValues:
        """p-values (n,) of this calibration as policies take them: bare, where the policy tells ranks from a tail."""
        values = np.asarray(p_value, dtype=np.float64)
        return self.labelled(values) if self.kind in ("weighted", "smoothed") else values

    def reference_sizes(self, cell: NDArray[np.str_] | None, n: int) -> Array:
        """How many records each of n records is ranked among, (n,); of weighted ones how many whole ones they are."""
        sizes = [size_of(reference, weights) for _, reference, weights, _ in self._cellwise()]
        return np.array(sizes, dtype=np.float64)[self.cells.places(cell, n)]

    def decide(
        self,
        p_value: ArrayLike | PValues,
        *,
        cell: NDArray[np.str_] | None = None,
        score: ArrayLike | None = None,
        record_id: ArrayLike | None = None,
        history: History | None = None,
    ) -> Decision:
        """What the policy makes of the p-values of one batch, see `Policy.decide`. Raises ValueError on NaN.

        Bare p-values are labelled as this calibration's own.
        """
        given = p_value if isinstance(p_value, PValues) else self.own(p_value)
        return self.policy.decide(
            given,
            score=score,
            record_id=record_id,
            n_reference=self.reference_sizes(cell, len(given)),
            history=history,
        )

    def check_rate(self, flags: ArrayLike, units: ArrayLike, *, cell: str | None = None) -> RateCheck:
        """`coverage.check_rate` of held-out records: `flags` (n,) is whose p-value is at most `rate_checked`.

        With `cell` they are records of that cell, whose reference alone counts.
        """
        return check_rate(flags, units, *self._own_flags(cell), self.rate_checked)

    def too_many(self, flags: ArrayLike, units: ArrayLike, *, level: float, cell: str | None = None) -> FlaggedShare:
        """`too_many` of held-out records, in all or of one cell; wrong with at most `level`."""
        lots = self.ties == "random"
        return too_many(flags, units, *self._own_flags(cell), asked=self.rate_checked, level=level, lots=lots)

    def check_cells(self, flags: ArrayLike, units: ArrayLike, cell: NDArray[np.str_]) -> dict[str, RateCheck]:
        """`check_rate` within each cell that has held-out records; `cell` (n,) is that of each."""
        flags, units = np.asarray(flags, dtype=bool), np.asarray(units)
        within = {name: cell == name for name in self.cells.names}
        return {
            name: self.check_rate(flags[mine], units[mine], cell=name) for name, mine in within.items() if mine.any()
        }

    def _own_flags(self, cell: str | None) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which records of the reference, or of a cell's, lie above the threshold, and the unit of each."""
        thresholds = np.repeat(list(self.thresholds.values()), self.sizes)
        own = np.repeat(np.array(self.cells.names) == cell, self.sizes) if cell else np.ones(self.size, dtype=bool)
        return self.scores[own] > thresholds[own], self.score_units[own]

    def _by_cell(self, array: Array | None) -> list[Array]:
        return np.split(array, np.cumsum(self.sizes)[:-1]) if array is not None else []

    def _cellwise(self) -> list[tuple[str, Array, Array | None, Tail | None]]:
        """Of each cell its name, the sorted scores of its reference, their weights and its tail."""
        weights: Sequence[Array | None] = self._by_cell(self.weights) or [None] * len(self.sizes)
        tails = self.tails or (None,) * len(self.sizes)
        return list(zip(self.cells.names, self._by_cell(self.scores), weights, tails, strict=True))

    # -- on disk ---------------------------------------------------------------------------------------------

    def to_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """JSON and arrays; `from_state` of them gives the same bits."""
        return layout.written(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Calibration:
        """The calibration that wrote `state`; raises `BundleError` when that has another layout."""
        return cls(**layout.read(state, arrays))


def _beyond(scores: Array, parts: Parts, top: float) -> Array:
    """The scores of records each of which has a pattern of its own, given the highest of those that share theirs."""
    return np.maximum(scores, np.maximum(np.nextafter(top, np.inf), top - parts.log_mass))
