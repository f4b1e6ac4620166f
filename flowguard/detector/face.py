"""The scikit-learn face: a detector fitted on a table in memory, with defaults for any table."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from flowguard.calibration import FalseAlarmRate
from flowguard.calibration.cells import ALL
from flowguard.calibration.conformal import smallest_level
from flowguard.calibration.scores import by_name
from flowguard.detector.detector import Detector, Engine
from flowguard.detector.fit import Columns, ScoreName, calibrate, fit, hold
from flowguard.detector.frame import frame_of, kinds_of, names_of
from flowguard.detector.groups import group_values
from flowguard.detector.sampling import context_batch, sample, seeded
from flowguard.detector.storage import load, save
from flowguard.encoding import ContextSettings, FeatureSettings
from flowguard.errors import CalibrationError, InputError
from flowguard.tables.arrow import conform
from flowguard.training import TrainingSettings, choose_device

LEVEL = 0.01
"""The default false alarm rate; on tables too small for it, the smallest that their calibration supports."""

KERNEL = 2000
"""Records that kernel densities keep beside the flow."""
FLOW = {
    "family": "maf",
    "transformer": "affine",
    "orders": 2,
    "layers": 2,
    "hidden": None,
    "dropout": None,
    "noise": None,
}
"""The flow, unless another family is named; None is left to the size of the table."""

_VALIDATION, _CALIBRATION = 0.1, 0.2
_CHUNK = 65_536


class FlowDetector(OutlierMixin, BaseEstimator):
    """An outlier detector whose scores are exact log-likelihoods and whose flags have a guaranteed error rate.

    `fit(X)` takes NumPy arrays, pandas and Arrow tables, with categories, booleans and missing values as they are. Part
    of the records is held out to stop training early and to calibrate, so that `p_values` of records like those of the
    fit are valid: P(p <= a) <= a. Higher `score_samples` = more ordinary, as in scikit-learn.

    Parameters
    ----------
    context : column names (or numbers, of an array) that the density is conditioned on and that are not judged.
    categories : columns that hold categories though their values are numbers.
    score_by : what records are ranked by, by its name in `flowguard.calibration.SCORES`: default, log_likelihood,
        mixed, largest, typicality, sum, fisher, higher_criticism, experts (what default is with `kernel`).
    false_alarm_rate : share of ordinary records that may be flagged. None: 0.01, or on smaller tables the smallest
        level that the calibration supports, with a warning that names it. A level it cannot support is refused.
    model : settings of the density by name, as in a pipeline file's `model` section: family, transformer, orders, ...
        Default: two affine autoregressive flows in different column orders, with two kernel densities of 2,000 records
        and the columns by themselves beside them (`kernel=0`: the flows alone, and no record is kept).
    training : settings of the training by name, see `TrainingSettings`: epochs, learning_rate, contamination, ...
    device, threads : where it is trained; scores are computed on the CPU in float64.
    random_state : seed of everything random.

    Attributes
    ----------
    detector_ : the fitted `Detector` (encoder, density, calibration), what bundles hold and pipelines use.
    offset_ : minus the score above which records are flagged; `decision_function` = `score_samples` - `offset_`.
    false_alarm_rate_ : the level in force. n_features_in_, feature_names_in_ : as in scikit-learn.

    Errors: InputError (a ValueError) for input that is no table or lacks a column; CalibrationError for a level that
    cannot be supported.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(400, 2))
        >>> detector = FlowDetector(random_state=0, false_alarm_rate=0.05).fit(X)
        >>> detector.predict(np.array([[0.0, 0.0], [9.0, -9.0]])).tolist()
        [1, -1]
    """

    def __init__(
        self,
        *,
        context: Sequence[str | int] = (),
        categories: Sequence[str | int] = (),
        score_by: ScoreName = "default",
        false_alarm_rate: float | None = None,
        model: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
        device: str = "cpu",
        threads: int = 1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.context = context
        self.categories = categories
        self.score_by = score_by
        self.false_alarm_rate = false_alarm_rate
        self.model = model
        self.training = training
        self.device = device
        self.threads = threads
        self.random_state = random_state

    # -- fit ---------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> FlowDetector:
        """Learn the density of the records of X and calibrate on those held out; y is ignored."""
        if (
            self.score_by != "default"
            and by_name(self.score_by).name == "experts"
            and not self._architecture()["kernel"]
        ):
            raise CalibrationError("`experts` adds up what several densities say; give model={'kernel': 2000} or so.")
        frame = frame_of(self, X, reset=True)
        if len(frame) < 2:
            raise InputError(f"A fit needs at least 2 records, and X has n_samples = {len(frame)}.")
        table = pa.Table.from_pandas(frame, preserve_index=False)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        columns = self._columns(frame, table)
        training, validation, held = _parts(table, seed=seed)
        detector, result = fit(
            lambda: training.to_batches(max_chunksize=_CHUNK),
            lambda: validation.to_batches(max_chunksize=_CHUNK),
            columns=columns,
            architecture=self._architecture() | ({} if len(held) else {"kernel": 0}),
            settings=TrainingSettings(**{**(self.training or {}), "seed": seed}),
            engine=Engine(),
            device=choose_device(self.device),
            threads=self.threads,
        )
        self.n_iter_ = len(result.history)
        self.detector_ = self._calibrated(detector, held)
        self._set_level()
        return self

    def _architecture(self) -> dict[str, Any]:
        given = dict(self.model or {})
        # Settings of one family mean nothing to another.
        return {"kernel": KERNEL, **(FLOW if given.get("family", "maf") == "maf" else {}), **given}

    def _columns(self, frame: pd.DataFrame, table: pa.Table) -> Columns:
        context, categories = (names_of(frame, given) for given in (self.context, self.categories))
        kinds = kinds_of(table, categories=categories)
        features = {name: FeatureSettings(kind=kind) for name, kind in kinds.items() if name not in context}
        if not features:
            raise InputError("No column is left to judge: every one is context.")
        return Columns(
            features=features,
            context={name: ContextSettings(kinds[name]) for name in context},
            types={name: str(table.schema.field(name).type) for name in kinds},
        )

    def _calibrated(self, detector: Detector, held: pa.Table) -> Detector:
        """Calibrated at the level asked for, or the best there is; without calibration where no record is held out."""
        self.false_alarm_rate_ = LEVEL if self.false_alarm_rate is None else self.false_alarm_rate
        records = hold(detector, [(batch, np.arange(len(batch))) for batch in held.combine_chunks().to_batches()])
        if not len(records):
            if self.false_alarm_rate is not None:
                raise CalibrationError("No record is left to calibrate on; a level cannot be guaranteed.")
            warnings.warn(
                "The table is too small to calibrate on: p-values are 1 and nothing is flagged.", stacklevel=3
            )
            return detector
        try:
            return calibrate(detector, records, policy=FalseAlarmRate(self.false_alarm_rate_), score=self.score_by)
        except CalibrationError:
            if self.false_alarm_rate is not None:
                raise
        # Half of the records may be needed to rank densities; what is left is known once they are split.
        loose = calibrate(detector, records, policy=FalseAlarmRate(0.999999), score=self.score_by)
        assert loose.calibration is not None
        self.false_alarm_rate_ = smallest_level(loose.calibration.size)
        warnings.warn(
            f"The table is too small for a false alarm rate of {LEVEL:g}: {self.false_alarm_rate_:.3g} is the smallest "
            "level that its calibration records support, and is used. Give more records, or name a level.",
            stacklevel=3,
        )
        return calibrate(detector, records, policy=FalseAlarmRate(self.false_alarm_rate_), score=self.score_by)

    def _set_level(self) -> None:
        calibration = self.detector_.calibration
        self.offset_ = -np.inf if calibration is None else -min(calibration.thresholds.values())

    # -- what it says ------------------------------------------------------------------------------------------------

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the score, `(n,)`: higher = more ordinary. InputError where a record cannot be scored (infinite)."""
        return -self._scores(X)[0]

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` - `offset_`, `(n,)`: below 0 is flagged. A version with cells has an offset for each."""
        score, _, group = self._scores(X)
        calibration = self.detector_.calibration
        if calibration is None:
            return np.full(len(score), np.inf)
        return np.array([calibration.thresholds[name] for name in group.tolist()]) - score

    def predict(self, X: Any) -> np.ndarray:
        """1 for ordinary records, -1 for flagged ones, `(n,)`."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> np.ndarray:
        """Calibrated p-values, `(n,)`; all 1 where there was nothing to calibrate on."""
        score, _, group = self._scores(X)
        calibration = self.detector_.calibration
        return np.ones(len(score)) if calibration is None else calibration.p_value(score, group)

    def log_likelihood(self, X: Any) -> np.ndarray:
        """The exact log p(features | context) of each record in nats, in the units of X, `(n,)`."""
        return self._scores(X)[1]

    def explain(self, X: Any, *, top: int = 3) -> pd.DataFrame:
        """The columns that make each record strange, strongest first: row, rank, column, share, low, high, words."""
        check_is_fitted(self)
        if not self.detector_.explains:
            raise InputError("Reasons need exact terms by column: use model={'family': 'maf'} in single order.")
        if self.detector_.baseline is None:
            raise CalibrationError("Reasons need calibration records, and the table had none to spare.")
        batch = self._batch(X)
        encoded = self.detector_.encode(batch)
        found = self.detector_.reasons(
            batch,
            encoded,
            self.detector_.evaluate(encoded),
            np.arange(len(batch)),
            record_ids=[str(row) for row in range(len(batch))],
            top=top,
        )
        lines = [
            (int(one.record_id), one.rank, one.column, one.share, one.observed_text, one.low, one.high, one.words)
            for record in found
            for one in record
        ]
        names = ["row", "rank", "column", "share", "observed", "low", "high", "words"]
        return pd.DataFrame(lines, columns=names)

    def sample(self, n: int, *, context: Any = None, random_state: Any = None) -> pd.DataFrame:
        """n records drawn from the density, in the units of X; `context`: a table with a row for each, where needed."""
        check_is_fitted(self)
        generator = seeded(check_random_state(random_state))
        return sample(self.detector_, n, batch=context_batch(self.detector_, context), generator=generator)

    # -- bundles -----------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> str:
        """Seal the fitted detector in a folder, as pipelines do, and return its digest."""
        check_is_fitted(self)
        named = getattr(self, "feature_names_in_", None)
        facts = {"features": self.n_features_in_, "names": None if named is None else list(named)}
        return save(replace(self.detector_, provenance={**self.detector_.provenance, "face": facts}), folder)

    @classmethod
    def load(cls, folder: str | Path) -> FlowDetector:
        """The detector sealed in `folder`, by `save` or by a pipeline; BundleError where a byte differs."""
        detector = load(folder)
        columns = list(detector.columns)
        facts = detector.provenance.get("face", {"features": len(columns), "names": columns})
        face = cls()
        face.detector_, face.n_features_in_ = detector, facts["features"]
        if facts["names"] is not None:
            face.feature_names_in_ = np.array(facts["names"], dtype=object)
        if detector.calibration is not None:
            face.false_alarm_rate_ = detector.calibration.rate_checked
        face._set_level()
        return face

    # -- inside ------------------------------------------------------------------------------------------------------

    def _scores(self, X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score, log-likelihood and calibration cell of each record."""
        check_is_fitted(self)
        batch = self._batch(X)
        encoded = self.detector_.encode(batch)
        refused = [(row, why) for row, why in enumerate(encoded.refused) if why is not None]
        if refused:
            raise InputError(f"Record {refused[0][0]} cannot be scored: {refused[0][1]}. X contains infinity.")
        found = self.detector_.evaluate(encoded)
        calibration = self.detector_.calibration
        if calibration is None:
            return -found.log_likelihood, found.log_likelihood, np.full(len(batch), ALL)
        group = calibration.cells.of(group_values(calibration.cells.by, batch, encoded), len(batch))
        return calibration.score(found.parts()), found.log_likelihood, group

    def _batch(self, X: Any) -> pa.RecordBatch:
        check_is_fitted(self)
        return conform(frame_of(self, X, reset=False), self.detector_.columns)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def _parts(table: pa.Table, *, seed: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Records to train on, to stop by and to calibrate on, at random: 70, 10, 20 %; of 9 or fewer, all to train."""
    order = np.random.default_rng([seed, len(table)]).permutation(len(table))
    stop, held = (int(len(table) * share) for share in (_VALIDATION, _CALIBRATION))
    if not stop:
        return table, table, table.slice(0, 0)
    return table.take(order[stop + held :]), table.take(order[:stop]), table.take(order[stop : stop + held])
