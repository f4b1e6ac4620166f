"""Cross-conformal calibration: every record of a small table trains most of the models and calibrates one of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flowguard.calibration import Calibration, FalseAlarmRate, Parts, PValues, Score, ScoreName
from flowguard.calibration.conformal import size_needed, smallest_level
from flowguard.calibration.cross import cross_p_value
from flowguard.calibration.scores import by_name
from flowguard.detector.defaults import LEVEL, VALIDATION, held_of
from flowguard.detector.detector import Detector
from flowguard.detector.evaluate import refusals
from flowguard.errors import CalibrationError, InputError
from flowguard.explain import Baseline

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

Train = Callable[[pa.Table, pa.Table, int], Detector]
"""An uncalibrated detector from records to train on, records to stop by and a seed."""

_LOOSE = FalseAlarmRate(0.999999)  # of a fold by itself nothing is asked
_BELOW_ONE = 1e-6


@dataclass(frozen=True, eq=False)
class Folds:
    """K detectors, each calibrated on the fold of records that it was not trained on, and the level in force.

    p-values are those of `cross_p_value`: a record is ranked among all records of all folds, each by the detector that
    has not seen it. For an ordinary record P(p <= level) <= `bound`, 2 level + an excess, where a calibration of
    records held out has level itself. As there, what kind a column of whole numbers is, was seen in all records.
    """

    detectors: tuple[Detector, ...]
    level: float

    # -- figures -----------------------------------------------------------------------------------------------------

    @cached_property
    def calibrations(self) -> list[Calibration]:
        """That of each fold."""
        return [detector.calibration for detector in self.detectors if detector.calibration is not None]

    @cached_property
    def references(self) -> list[Array]:
        """Of each fold the scores of its records by the detector that has not seen them, sorted."""
        return [calibration.scores for calibration in self.calibrations]

    @property
    def size(self) -> int:
        """Records in all folds."""
        return sum(map(len, self.references))

    @property
    def bound(self) -> float:
        """The greatest probability that an ordinary record is flagged; see `cross_p_value`."""
        bound = self._p_values(np.zeros((0, len(self.detectors)))).bound(self.level)
        assert bound is not None
        return bound

    @property
    def offset(self) -> float:
        """What `ordinary` is below, and only then, where the p-value is at most the level."""
        possible = np.arange(1, self.size + 2) / (self.size + 1)
        flagged = int(np.count_nonzero(possible <= self.level))
        return math.log(flagged - _BELOW_ONE / 2) - math.log(self.size + 1)

    # -- use ---------------------------------------------------------------------------------------------------------

    def scores(self, batch: pa.RecordBatch) -> Array:
        """The score of each record by each detector, `(n, K)`; InputError where a record cannot be scored."""
        columns = []
        for detector, calibration in zip(self.detectors, self.calibrations, strict=True):
            encoded = detector.encode(batch)
            found = detector.evaluate(encoded)
            for row, why in enumerate(refusals(encoded, found)):
                if why is not None:
                    raise InputError(f"Record {row} cannot be scored: {why}.")
            columns.append(calibration.score(found.parts()))
        return np.stack(columns, axis=1)

    def p_values(self, batch: pa.RecordBatch) -> PValues:
        """Of kind `cross`, `(n,)`."""
        return self._p_values(self.scores(batch))

    def ordinary(self, batch: pa.RecordBatch) -> Array:
        """The logarithm of the p-value, less what tells apart records of one p-value, `(n,)`; higher = more ordinary.

        With r the left-out scores at least as high, p = (r + 1) / (n + 1), and this is log((r + u) / (n + 1)): u,
        between 0 and 1, falls as the mean of the record's scores rises over the mean of the folds' highest. Beyond all
        left-out scores, where r is 0, it goes on falling as that mean rises, so extremes do not tie.
        """
        scores = self.scores(batch)
        rank = np.rint(self._p_values(scores).values * (self.size + 1)) - 1
        over = scores.mean(axis=1) - np.mean([reference[-1] for reference in self.references])
        with np.errstate(divide="ignore"):
            refined = np.logaddexp(np.log(rank), np.minimum(-np.logaddexp(0.0, over), math.log1p(-_BELOW_ONE)))
        return np.asarray(refined - math.log(self.size + 1))

    def _p_values(self, scores: Array) -> PValues:
        return cross_p_value(self.references, scores)


@dataclass(frozen=True)
class Deal:
    """Which records (by row) make which fold, stop every training early, and are what scores rank among.

    `folds` `(K, size)`: of one size, as the bound is smaller then; what is left over joins the records that stop.
    """

    folds: Rows
    stopping: Rows
    ranked: Rows


def deal(table: pa.Table, folds: int, *, ranked: bool, seed: int) -> Deal:
    """At random: a tenth to stop by, with `ranked` a tenth to rank among, the others to the folds.

    Infinite records are dealt to none, they cannot be scored. InputError where a fold would have no record.
    """
    if isinstance(folds, bool) or not isinstance(folds, int | np.integer) or folds < 2:
        raise InputError(f"folds is {folds!r}; expected a whole number of 2 or more, or None to hold records out.")
    usable = np.flatnonzero(_finite(table))
    order = np.random.default_rng([seed, len(table)]).permutation(usable)
    aside = max(1, int(len(order) * VALIDATION))
    apart = aside if ranked else 0
    size, left = divmod(len(order) - aside - apart, folds)
    if size < 1:
        raise InputError(
            f"folds={folds} needs {folds} finite records or more, one a fold, besides the {aside + apart} that stop "
            f"training or are ranked among; X has n_samples = {len(order)}. Ask for fewer folds, or give more records."
        )
    stopping, ranks, rest = np.split(order, [aside + left, aside + left + apart])
    return Deal(rest.reshape(folds, size), stopping, ranks if ranked else stopping)


def fit_folds(
    train: Train, table: pa.Table, dealt: Deal, *, level: float | None, score: ScoreName, seed: int
) -> tuple[Detector, Folds]:
    """The main detector, trained on the records of all folds, and the folds' detectors, each on those of the others.

    Every detector has an encoder, a density and randomness of its own. The score of a fold is fitted on `dealt.ranked`:
    neither the fold's records nor those that are judged have a part in what ranks them, which keeps them exchangeable.
    The main detector has no calibration; the baseline of its reasons is what the terms of the left-out records are on
    average, each by its fold's detector.

    Errors: CalibrationError for a level that the folds cannot support. Called by `FlowDetector.fit`, whose caller the
    warning points at.
    """
    size = dealt.folds.size
    in_force = max(LEVEL, smallest_level(size)) if level is None else level
    if not 0 < in_force < 1:
        raise CalibrationError(f"false_alarm_rate is {in_force}; expected a number between 0 and 1")
    if in_force < smallest_level(size):
        raise CalibrationError(
            f"false_alarm_rate {in_force:g} needs {size_needed(in_force):,} records in the folds; there are {size:,}, "
            f"whose smallest level is {smallest_level(size):.3g}; give more records, or ask for a higher rate"
        )
    seeds = np.random.default_rng([seed, len(dealt.folds)]).integers(2**31 - 1, size=len(dealt.folds) + 1)
    stopping, ranked = table.take(dealt.stopping), table.take(dealt.ranked)
    detectors, terms, patterns = [], [], []
    for fold, own in zip(dealt.folds, seeds[1:].tolist(), strict=True):
        # In an order of their own: what depends on it is then symmetric in the records, as the bound asks.
        others = np.random.default_rng(own).permutation(np.setdiff1d(dealt.folds, fold))
        detector = train(table.take(others), stopping, own)
        held = held_of(detector, table.take(fold))
        if not len(held):
            raise CalibrationError("The records of a fold cannot be scored. Ask for fewer folds, or for none.")
        seen = table.take(np.concatenate([others, dealt.stopping]))
        detectors.append(replace(detector, calibration=_calibration(detector, held.parts, seen, ranked, score)))
        terms.append(held.terms)
        patterns.append(held.pattern)
    main = train(table.take(dealt.folds.ravel()), stopping, int(seeds[0]))
    by_column = [one for one in terms if one is not None]
    # Nobody learned from the records that ranks or stopping were left: ranges are calibrated on them.
    main = replace(main, held=held_of(main, ranked).sample)
    if main.has_terms and by_column:
        main = replace(main, baseline=Baseline.fit(np.concatenate(by_column), np.concatenate(patterns)))
    folds = Folds(tuple(detectors), in_force)
    if level is None and in_force > LEVEL:
        warnings.warn(
            f"The table is too small for a false alarm rate of {LEVEL:g}: {in_force:.3g} is the smallest level that "
            f"the {folds.size:,} records of its folds support, and is used; an ordinary record is flagged with "
            f"probability at most {folds.bound:.3g}. Give more records, or name a level.",
            stacklevel=3,
        )
    return main, folds


def _calibration(detector: Detector, fold: Parts, seen: pa.Table, ranked: pa.Table, score: ScoreName) -> Calibration:
    """Of a fold left out; who its records are has no part in how they are scored."""
    scorer, counts, top = _scorer(detector, seen, held_of(detector, ranked).parts, score)
    n = len(fold)
    bare = Calibration(
        scorer=scorer,
        policy=_LOOSE,
        scores=np.zeros(n),
        score_units=np.arange(n),
        counts=counts,
        top=top,
        rows=n,
        units=n,
        sizes=(n,),
    )
    return replace(bare, scores=np.sort(bare.score(fold)))


def _scorer(detector: Detector, seen: pa.Table, ranked: Parts, score: ScoreName) -> tuple[Score, dict[str, int], float]:
    """The score, the patterns that are known and the highest score among them, as in `Calibration.fit`."""
    if score == "default" and ranked.expert_mass is not None:
        score = "experts"
    if score != "default" and by_name(score).ranks:
        return by_name(score).fit(ranked), {}, 0.0
    known = held_of(detector, seen).parts
    names, counts = np.unique(known.pattern, return_counts=True)
    if score == "default" and not (len(names) == 1 and known.log_mass.min() == known.log_mass.max()):
        return by_name("mixed").fit(ranked), {}, 0.0
    scorer = by_name("log_likelihood").fit(known)
    return scorer, dict(zip(names.tolist(), counts.tolist(), strict=True)), float(scorer.score(known).max())


def _finite(table: pa.Table) -> NDArray[np.bool_]:
    found = np.ones(len(table), dtype=bool)
    for column in table.columns:
        if pa.types.is_floating(column.type):
            found &= ~np.asarray(pc.fill_null(pc.is_inf(column), False))
    return found
