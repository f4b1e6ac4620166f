"""The fitted whole: encoder, density and calibration as one object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from flowguard.calibration import Calibration, History, Policy
from flowguard.density import Inputs, RecordDensity
from flowguard.detector.evaluate import Evaluation, evaluate, refusals, sealed_threads
from flowguard.detector.groups import group_values
from flowguard.detector.reasons import reasons_of
from flowguard.detector.watch import Watched
from flowguard.encoding import Encoded, Encoder
from flowguard.errors import CalibrationError
from flowguard.explain import Baseline, Reason
from flowguard.explain.expected import Expected
from flowguard.tables import record_ids
from flowguard.tables.arrow import conform


@dataclass(frozen=True)
class Engine:
    """How scores are computed; sealed with the version, because bits are promised for one engine only."""

    tile: int = 1024
    threads: int = 1
    dtype: str = "float64"


@dataclass(frozen=True)
class Scores:
    """The verdict on n records, in their order; numbers are NaN where a record was refused.

    `log_likelihood` = `log_mass` + `log_density`, natural log, in the table's units. `score`: higher = stranger.
    `group` is the calibration cell, `p_value` is calibrated in it, and below 1/(n+1) of its size only where it is
    `extrapolated` by a model of the tail. `refused` holds
    the reason why a record cannot be scored, else None; a refused record is never flagged and never silently ordinary:
    it is quarantined. Flags are the policy's, which may look at a whole batch: see `Detector.decide`.
    """

    log_likelihood: np.ndarray
    log_density: np.ndarray
    log_mass: np.ndarray
    score: np.ndarray
    p_value: np.ndarray
    extrapolated: np.ndarray
    group: np.ndarray
    refused: list[str | None]

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True)
class Detector:
    """Encoder, density and calibration; `calibration` and `baseline` are None until `calibrate` has run.

    `watched` is what drift compares batches with, None where nobody asked for it. `expected` is what held-out records
    taught about ranges, made of the sample `held` of them when it is first asked for (`usual`); they are never sealed.

    `columns` maps every raw column that is read to its Arrow type as text, `key` names the columns that identify a
    record, `redact` those never shown. `provenance` and `history` are plain JSON.
    """

    encoder: Encoder
    density: RecordDensity
    columns: Mapping[str, str]
    key: Sequence[str] = ()
    redact: Sequence[str] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    engine: Engine = Engine()
    calibration: Calibration | None = None
    baseline: Baseline | None = None
    watched: Watched | None = None
    expected: Expected | None = None
    held: Inputs | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    digest: str = ""

    # -- densities ---------------------------------------------------------------------------------------------------

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """The records as the density reads them; raises `SchemaError` when a column is missing or of another type."""
        return self.encoder.encode(batch)

    def evaluate(self, encoded: Encoded, *, by_column: bool = False) -> Evaluation:
        """Exact log-likelihoods and their parts of encoded records; rows that were refused hold placeholders.

        Terms by column are there unless experts are mixed, where only `by_column` brings them.
        """
        tile, threads = self.engine.tile, self.engine.threads
        return evaluate(self.density, encoded, tile=tile, threads=threads, by_column=by_column)

    # -- scores ------------------------------------------------------------------------------------------------------

    def score(self, batch: pa.RecordBatch) -> Scores:
        """Score and p-value of every record of `batch`."""
        encoded = self.encode(batch)
        # Part of a key would give ids that are neither the pipeline's nor unique.
        key = self.key if set(self.key) <= set(batch.schema.names) else ()
        return self.judge(batch, encoded, self.evaluate(encoded), record_id=record_ids(batch, key))

    def judge(
        self, batch: pa.RecordBatch, encoded: Encoded, evaluation: Evaluation, *, record_id: Sequence[str] | None = None
    ) -> Scores:
        """Turn log-likelihoods into scores and p-values; `record_id` (n,) breaks ties, where a lot is to."""
        calibration = self._calibrated()
        n = len(encoded.x)
        refused = refusals(encoded, evaluation)
        usable = np.array([reason is None for reason in refused], dtype=bool)
        by = calibration.cells.by
        group = calibration.cells.of(group_values(by, batch, encoded), n)
        numbers = {
            name: np.full(n, np.nan) for name in ("log_likelihood", "log_density", "log_mass", "score", "p_value")
        }
        extrapolated = np.zeros(n, dtype=bool)
        if usable.any():
            mass, density = evaluation.log_mass[usable], evaluation.log_density[usable]
            score = calibration.score(evaluation.parts(usable))
            key = None if record_id is None else [record_id[row] for row in np.flatnonzero(usable).tolist()]
            p = calibration.p_values(score, group[usable], key=key)
            for name, values in zip(numbers, (mass + density, density, mass, score, p.values), strict=True):
                numbers[name][usable] = values
            if p.extrapolated is not None:
                extrapolated[usable] = p.extrapolated
        return Scores(
            **numbers,
            extrapolated=extrapolated,
            group=group,
            refused=refused,
        )

    def decide(self, scores: Scores, record_id: Sequence[str] | None = None) -> np.ndarray:
        """The policy's flags, (n,), with these records as a batch; refused ones have none.

        Of a budget that batches share (`fdr`, pooled) it is decided as the first batch of a sequence of its own.
        """
        usable = np.array([reason is None for reason in scores.refused], dtype=bool)
        flag = np.zeros(len(scores), dtype=bool)
        flag[usable] = (
            self._calibrated()
            .decide(
                scores.p_value[usable],
                cell=scores.group[usable],
                score=scores.score[usable],
                record_id=None if record_id is None else np.asarray(record_id, dtype=object)[usable],
                history=History(1, 0),
            )
            .flag
        )
        return flag

    def score_frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Score a pandas table: one row per record in the same order, with `record_id` and `refused`."""
        batch = conform(frame, self.columns)
        scores = self.score(batch)
        # Part of a key would give ids that are neither the pipeline's nor unique.
        key = self.key if set(self.key) <= set(batch.schema.names) else ()
        ids = record_ids(batch, key)
        return pd.DataFrame(
            {
                "record_id": ids,
                "log_likelihood": scores.log_likelihood,
                "log_density": scores.log_density,
                "log_mass": scores.log_mass,
                "score": scores.score,
                "p_value": scores.p_value,
                **({"extrapolated": scores.extrapolated} if self.policy.extrapolates else {}),
                "flag": self.decide(scores, ids),
                "refused": pd.Series(scores.refused, dtype="str"),
            }
        )

    # -- reasons -----------------------------------------------------------------------------------------------------

    @property
    def has_terms(self) -> bool:
        """Whether exact shares by column exist: the density keeps one column order."""
        return self.density.triangular

    @cached_property
    def usual(self) -> Expected:
        """What ranges and pairs are told by: `expected`, made of `held` where it was not sealed yet."""
        if self.expected is not None:
            return self.expected
        if self.held is None:
            return Expected.plain(self.density)
        with sealed_threads(self.engine.threads):
            return Expected.fit(self.density, self.encoder, self.held)

    def reasons(
        self,
        batch: pa.RecordBatch,
        encoded: Encoded,
        evaluation: Evaluation,
        rows: np.ndarray,
        *,
        record_ids: Sequence[str],
        top: int,
    ) -> list[list[Reason]]:
        """The columns that make the records at `rows` strange, strongest first, each with its expected range.

        `record_ids` names those rows. Strength is the contrast: how much likelier the record becomes if one column
        takes its best value. Ranges hold 90 % of ordinary values given the rest of the record and the context. Shares
        are exact, and NaN for a family that has none.
        """
        return reasons_of(self, batch, encoded, evaluation, rows, record_ids=record_ids, top=top)

    def __getstate__(self) -> dict[str, Any]:
        # What is made of held-out records leaves this process, the records do not.
        return {**self.__dict__, "expected": self.usual, "held": None}

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def score_name(self) -> str:
        """Which score is used, by its name in `flowguard.calibration.SCORES`."""
        return self._calibrated().method

    @property
    def policy(self) -> Policy:
        """What flags follow from."""
        return self._calibrated().policy

    @property
    def measure_id(self) -> str:
        """Names the reference measure (kinds, atoms, lattices, levels); likelihoods compare only under the same one."""
        told = (feature.to_dict() for feature in self.encoder.features)
        measure = [[one.get(key) for key in ("name", "kind", "atoms", "lattice", "levels")] for one in told]
        return hashlib.sha256(json.dumps(measure, ensure_ascii=False).encode()).hexdigest()[:16]

    def input_schema(self) -> list[tuple[str, str]]:
        """The raw columns that are read, each with its Arrow type as text."""
        return list(self.columns.items())

    def _calibrated(self) -> Calibration:
        if self.calibration is None:
            raise CalibrationError(
                "This detector has no calibration yet: run `flowguard train` (or calibrate it) first."
            )
        return self.calibration
