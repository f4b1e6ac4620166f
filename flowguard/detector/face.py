"""The scikit-learn face: a detector fitted on a table in memory, with defaults for any table."""

from __future__ import annotations

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

from flowguard.calibration.cells import ALL
from flowguard.calibration.scores import by_name
from flowguard.detector.cross import Folds, deal, fit_folds
from flowguard.detector.defaults import architecture, calibrated, split
from flowguard.detector.detector import Detector, Engine
from flowguard.detector.fit import Columns, ScoreName, fit
from flowguard.detector.frame import frame_of, kinds_of, names_of
from flowguard.detector.groups import group_values
from flowguard.detector.reasons_plot import plot_reasons
from flowguard.detector.sampling import context_batch, sample, seeded
from flowguard.detector.storage import load_folds, save
from flowguard.encoding import ContextSettings, FeatureSettings
from flowguard.errors import CalibrationError, InputError
from flowguard.tables.arrow import conform
from flowguard.training import TrainingSettings, choose_device

_CHUNK = 65_536


class FlowDetector(OutlierMixin, BaseEstimator):
    """An outlier detector whose scores are exact log-likelihoods and whose flags have a guaranteed error rate.

    `fit(X)` takes NumPy arrays, pandas and Arrow tables, with categories, booleans and missing values as they are. Part
    of the records is held out to stop training early and to calibrate, so that `p_values` of records like those of the
    fit are valid: P(p <= a) <= a (`folds`, for small tables, promise less). Higher `score_samples` = more ordinary, as
    in scikit-learn.

    Parameters
    ----------
    context : column names (or numbers, of an array) that the density is conditioned on and that are not judged.
    categories : columns that hold categories though their values are numbers.
    score_by : what records are ranked by, by its name in `flowguard.calibration.SCORES`: default, log_likelihood,
        mixed, largest, typicality, sum, fisher, higher_criticism, experts (what default is with `kernel`).
    false_alarm_rate : share of ordinary records that may be flagged. None: 0.01, or on smaller tables the smallest
        level that the calibration supports, with a warning that names it. A level it cannot support is refused.
    folds : None: a fifth of the records is held out to calibrate on. A whole number K of 2 or more, for tables too
        small for that: K densities are each trained without a fold of the records and calibrated on it, at K trainings
        and one more, and K times the work of a score; a tenth is kept apart to stop training, and with `kernel` a tenth
        for scores to rank among. `p_values` are cross-conformal and promise less: P(p <= a) <= 2 a + an excess, though
        P is close to a in practice. `bound_` says what that comes to; folds of a single record have no excess.
    model : settings of the density by name, as in a pipeline file's `model` section: family, transformer, orders, ...
        Default: two affine autoregressive flows in different column orders, with two kernel densities of 2,000 records
        and the columns by themselves beside them (`kernel=0`: the flows alone, and no record is kept).
    training : settings of the training by name, see `TrainingSettings`: epochs, learning_rate, contamination, ...
    device, threads : where it is trained; scores are computed on the CPU in float64.
    random_state : seed of everything random.

    Attributes
    ----------
    detector_ : the fitted `Detector` (encoder, density, calibration), what bundles hold and pipelines use. With folds
        it is trained on the records of all of them, has no calibration, and log_likelihood, explain and sample are its.
    folds_ : the `Folds`, which give scores, p-values and flags; None where records were held out.
    offset_ : what `score_samples` of flagged records is below; `decision_function` = `score_samples` - `offset_`.
    false_alarm_rate_ : the level in force. bound_ : the greatest probability that an ordinary record is flagged: that
        level, more with folds, None where a model of the tail has a part in it.
    n_features_in_, feature_names_in_ : as in scikit-learn.

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
        folds: int | None = None,
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
        self.folds = folds
        self.model = model
        self.training = training
        self.device = device
        self.threads = threads
        self.random_state = random_state

    # -- fit ---------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> FlowDetector:
        """Learn the density of the records of X and calibrate on those held out, or by folds; y is ignored."""
        settings = architecture(self.model)
        asked = None if self.score_by == "default" else by_name(self.score_by)
        if asked is not None and asked.name == "experts" and not settings["kernel"]:
            raise CalibrationError("`experts` adds up what several densities say; give model={'kernel': 2000} or so.")
        frame = frame_of(self, X, reset=True)
        if len(frame) < 2:
            raise InputError(f"A fit needs at least 2 records, and X has n_samples = {len(frame)}.")
        table = pa.Table.from_pandas(frame, preserve_index=False)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        columns = self._columns(frame, table)

        def train(training: pa.Table, stopping: pa.Table, seed: int) -> Detector:
            detector, result = fit(
                lambda: training.to_batches(max_chunksize=_CHUNK),
                lambda: stopping.to_batches(max_chunksize=_CHUNK),
                columns=columns,
                architecture=settings,
                settings=TrainingSettings(**{**(self.training or {}), "seed": seed}),
                engine=Engine(),
                device=choose_device(self.device),
                threads=self.threads,
            )
            self.n_iter_ = len(result.history)
            return detector

        if self.folds is None:
            training, stopping, held = split(table, seed=seed)
            if not len(held):
                settings["kernel"] = 0
            detector, level = calibrated(
                train(training, stopping, seed), held, level=self.false_alarm_rate, score=self.score_by
            )
            self.detector_, self.folds_, self.false_alarm_rate_ = detector, None, level
        else:
            # Kernel densities sit on the records that stop training: others have to say how deep in the tail one is.
            ranked = bool(settings["kernel"]) and (asked is None or asked.ranks)
            dealt = deal(table, self.folds, ranked=ranked, seed=seed)
            self.detector_, self.folds_ = fit_folds(
                train, table, dealt, level=self.false_alarm_rate, score=self.score_by, seed=seed
            )
            self.false_alarm_rate_ = self.folds_.level
        self._set_level()
        return self

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

    def _set_level(self) -> None:
        calibration = self.detector_.calibration
        self.offset_ = -np.inf
        self.bound_: float | None = 0.0
        if self.folds_ is not None:
            self.offset_, self.bound_ = self.folds_.offset, self.folds_.bound
        elif calibration is not None:
            self.offset_ = -min(calibration.thresholds.values())
            self.bound_ = None if calibration.tails else calibration.rate_checked

    # -- what it says ------------------------------------------------------------------------------------------------

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the score, `(n,)`: higher = more ordinary. InputError where a record cannot be scored (infinite).

        With folds no one score decides: it is the logarithm of the p-value, told apart among equals, see
        `Folds.ordinary`.
        """
        folds = self._fitted_folds()
        return -self._scores(X)[0] if folds is None else folds.ordinary(self._batch(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` - `offset_`, `(n,)`: below 0 is flagged. A version with cells has an offset for each."""
        if self._fitted_folds() is not None:
            return self.score_samples(X) - self.offset_
        score, _, group = self._scores(X)
        calibration = self.detector_.calibration
        if calibration is None:
            return np.full(len(score), np.inf)
        return np.array([calibration.thresholds[name] for name in group.tolist()]) - score

    def predict(self, X: Any) -> np.ndarray:
        """1 for ordinary records, -1 for flagged ones, `(n,)`."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> np.ndarray:
        """Calibrated p-values, `(n,)`; all 1 where there was nothing to calibrate on. Flags are those <= the level."""
        folds = self._fitted_folds()
        if folds is not None:
            return folds.p_values(self._batch(X)).values
        score, _, group = self._scores(X)
        calibration = self.detector_.calibration
        return np.ones(len(score)) if calibration is None else calibration.p_value(score, group)

    def log_likelihood(self, X: Any) -> np.ndarray:
        """The exact log p(features | context) of each record in nats, in the units of X, `(n,)`."""
        return self._scores(X)[1]

    def explain(self, X: Any, *, top: int = 3) -> pd.DataFrame:
        """The columns that make each record strange, strongest first, one line each: see `flowguard.explain.Reason`.

        `contrast`: how much likelier the record becomes if this column takes its best value, in nats; `share` is NaN
        where the family has no exact one, or the table had no records to calibrate on.
        """
        check_is_fitted(self)
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
        told = {"observed": "observed_text", "best": "best_text"}
        names = ["rank", "column", "contrast", "share", "observed", "low", "high", "best", "partner", "words"]
        lines = [
            [int(one.record_id), *(getattr(one, told.get(name, name)) for name in names)]
            for record in found
            for one in record
        ]
        return pd.DataFrame(lines, columns=["row", *names])

    def plot(self, X: Any, *, row: int = 0, top: int = 5, axes: Any = None) -> Any:
        """`explain` of one record of X as a picture: matplotlib axes with a bar and the words of each reason."""
        reasons = self.explain(frame_of(self, X, reset=False).iloc[[row]], top=top)
        return plot_reasons(reasons, title=f"Row {row}", axes=axes)

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
        detector = replace(self.detector_, provenance={**self.detector_.provenance, "face": facts})
        return save(detector, folder, folds=self.folds_)

    @classmethod
    def load(cls, folder: str | Path) -> FlowDetector:
        """The detector sealed in `folder`, by `save` or by a pipeline; BundleError where a byte differs."""
        detector, folds = load_folds(folder)
        columns = list(detector.columns)
        facts = detector.provenance.get("face", {"features": len(columns), "names": columns})
        face = cls()
        face.detector_, face.folds_, face.n_features_in_ = detector, folds, facts["features"]
        if facts["names"] is not None:
            face.feature_names_in_ = np.array(facts["names"], dtype=object)
        if folds is not None:
            face.false_alarm_rate_ = folds.level
        elif detector.calibration is not None:
            face.false_alarm_rate_ = detector.calibration.rate_checked
        face._set_level()
        return face

    # -- inside ------------------------------------------------------------------------------------------------------

    def _fitted_folds(self) -> Folds | None:
        check_is_fitted(self)
        return self.folds_

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
