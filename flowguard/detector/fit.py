"""Fitting a detector: encoder, then density, then calibration on records that neither has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from flowguard.calibration import Aging, Calibration, Cells, Parts, Policy, RateCheck, ScoreName, Ties, drift
from flowguard.density import Inputs, RecordDensity
from flowguard.detector.detector import Detector, Engine
from flowguard.detector.evaluate import inputs_of, refusals, sealed_threads
from flowguard.detector.expert_fit import add_experts
from flowguard.detector.groups import group_values
from flowguard.detector.sample import Sample
from flowguard.detector.screen import Screen
from flowguard.detector.watch import Watch, Watched
from flowguard.encoding import ContextSettings, Encoded, Encoder, FeatureSettings
from flowguard.errors import CalibrationError
from flowguard.explain import Baseline
from flowguard.tables.period import day_numbers, day_of
from flowguard.training import Epoch, Records, TrainingResult, TrainingSettings, train

EXPLAINED = 500
"""Held-out records of a chunk whose terms by column are computed where experts make them costly."""

NO_DAY = -(10**6)
"""The day number of a record without a day: older than any."""

#: Streams the records of one part of the split; may be called any number of times.
Part = Callable[[], Iterable[pa.RecordBatch]]


@dataclass(frozen=True)
class Columns:
    """What the columns mean to the model."""

    features: Mapping[str, FeatureSettings]
    context: Mapping[str, ContextSettings]
    types: Mapping[str, str]
    key: Sequence[str] = ()
    redact: Sequence[str] = ()
    units: Mapping[str, str] | None = None


def fit(
    training: Part,
    validation: Part,
    *,
    columns: Columns,
    architecture: Mapping[str, Any],
    settings: TrainingSettings,
    engine: Engine,
    device: torch.device,
    threads: int,
    checkpoint: Path | None = None,
    run_key: str = "",
    provenance: Mapping[str, Any] | None = None,
    on_encoder: Callable[[Encoder], None] = lambda encoder: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_step: Callable[[int], None] = lambda records: None,
) -> tuple[Detector, TrainingResult]:
    """An uncalibrated detector: the encoder fitted in one pass over `training`, then the density by maximum likelihood.

    `architecture` is passed on to `RecordDensity.build` (family, layers, ...). Values on a lattice, such as whole
    minutes, are spread over their step in training alone: a density must not learn spikes on the lattice. With `kernel`
    in it, so many training records become the centres of kernel densities beside the flow (`add_experts`).

    With `settings.contamination`, the records that a `Screen` finds strangest are left out of both streams, so that the
    density, its experts and early stopping never see them; `left_out` in the provenance is their share of the training
    records. The encoder sees all of them, and so does the calibration: p-values are then conservative.
    """
    encoder = Encoder.fit(columns.features, columns.context, training(), seed=settings.seed)
    on_encoder(encoder)
    architecture = dict(architecture)
    centres = architecture.pop("kernel", None) or 0
    density = RecordDensity.build(
        {
            **architecture,
            "columns": encoder.density_columns(),
            "numeric": encoder.context_width,
            "cardinalities": list(encoder.cardinalities),
            "seed": settings.seed,
        }
    )
    rows = encoder.rows
    if settings.contamination:
        known = density.discrete.columns
        screen = Screen.fit(map(encoder.encode, training()), settings.contamination, columns=known, rows=rows)
        training, validation = (_screened(part, encoder, screen) for part in (training, validation))
        rows = sum(len(batch) for batch in training())
        provenance = {**(provenance or {}), "left_out": 1 - rows / encoder.rows}

    def chunks(epoch: int) -> Iterator[Records]:
        dither = np.random.default_rng([settings.seed, epoch])
        return (_records(encoder.encode(batch, dither=dither)) for batch in training())

    def held_out() -> Iterator[Records]:
        # One fixed draw: the validation likelihood has to be comparable between epochs.
        dither = np.random.default_rng([settings.seed, 0])
        return (_records(encoder.encode(batch, dither=dither)) for batch in validation())

    with sealed_threads(threads):
        result = train(
            density,
            chunks,
            validation=held_out,
            rows=rows,
            settings=settings,
            device=device,
            checkpoint=checkpoint,
            run_key=run_key,
            on_epoch=on_epoch,
            on_step=on_step,
        )
        density = density.to(torch.float64).eval()
        if centres:
            add_experts(density, chunks(0), held_out(), centres=centres, rows=rows, seed=settings.seed)
    detector = Detector(
        encoder=encoder,
        density=density.to(getattr(torch, engine.dtype)).eval(),
        columns=columns.types,
        key=list(columns.key),
        redact=list(columns.redact),
        units=dict(columns.units or {}),
        engine=engine,
        provenance={
            **(provenance or {}),
            "best_epochs": result.best_epochs,
            "validation_nll": result.validation_nll,
        },
        # Without the seconds: the same training must seal to the same bytes.
        history=[{k: v for k, v in asdict(epoch).items() if k != "seconds"} for epoch in result.history],
    )
    return detector, result


@dataclass(frozen=True)
class Held:
    """Held-out records as the calibration needs them; `unit` names the whole (day, entity) a record belongs to.

    `terms` (k, features) are each column's part of -log_likelihood, for the baseline, and `pattern` (k,) goes with
    them: of all records, or of some where experts make them costly; None for families without. `groups` are the values
    that calibration cells go by, (n,) each, `watch` what drift is to compare batches with, `day` (n,) the day number of
    each record (`NO_DAY` where it has none) where a time column was named. `sample` are some of the records, evenly
    spread, for what is expected of ordinary ones.
    """

    parts: Parts
    unit: np.ndarray
    terms: np.ndarray | None
    pattern: np.ndarray
    refused: int
    groups: Sequence[np.ndarray] = ()
    watch: Watch | None = None
    day: np.ndarray | None = None
    sample: Inputs | None = None

    @property
    def dates(self) -> tuple[str, str] | None:
        """The first and last day of the records."""
        known = self.day[self.day != NO_DAY] if self.day is not None else np.zeros(0)
        return (day_of(known.min()).isoformat(), day_of(known.max()).isoformat()) if len(known) else None

    def __len__(self) -> int:
        return len(self.parts)


def hold(
    detector: Detector,
    chunks: Iterable[tuple[pa.RecordBatch, np.ndarray]],
    *,
    by: Sequence[str] = (),
    watched: bool = False,
    time: str | None = None,
) -> Held:
    """Evaluate held-out records, given as batches with the unit of each record; `by` as in `group_values`.

    `watched`: also keep what drift is to compare batches with. `time`: the batches' date or timestamp column, which the
    model need not know, for the days of the records.
    """
    parts: list[Parts] = []
    units: list[np.ndarray] = []
    terms: list[np.ndarray] = []
    pattern: list[np.ndarray] = []
    groups: list[list[np.ndarray]] = []
    days: list[np.ndarray] = []
    watch = Watch(detector.encoder, detector.columns, tuple(detector.redact)) if watched else None
    refused = 0
    sample = Sample()
    for batch, unit in chunks:
        encoded = detector.encode(batch)
        found = detector.evaluate(encoded)
        usable = np.array([reason is None for reason in refusals(encoded, found)], dtype=bool)
        refused += int((~usable).sum())
        parts.append(found.parts(usable))
        sample.add(encoded.take(np.flatnonzero(usable)))
        if watch is not None:
            watch.add(batch, parts[-1], usable)
        units.append(np.asarray(unit)[usable])
        if time is not None:
            numbers, known = day_numbers(batch.column(time))
            days.append(np.where(known, numbers, NO_DAY)[usable])
        groups.append([values[usable] for values in group_values(by, batch, encoded)])
        if detector.has_terms:
            if found.terms is None:
                some = np.flatnonzero(usable)
                some = some[np.linspace(0, len(some), min(len(some), EXPLAINED), endpoint=False, dtype=int)]
                found, usable = detector.evaluate(encoded.take(some), by_column=True), np.ones(len(some), dtype=bool)
            assert found.terms is not None
            terms.append(found.terms[usable])
            pattern.append(found.pattern[usable])
    if not parts:
        none = np.zeros((0, len(detector.encoder.feature_names)))
        by_column = none if detector.has_terms else None
        parts = [Parts(none[:, 0], none[:, 0], np.zeros(0, dtype=str), none, by_column)]
        units, terms, pattern = [np.zeros(0, dtype=str)], [none], [np.zeros(0, dtype=str)]
        groups = [[np.zeros(0, dtype=str)] * len(by)]
    return Held(
        parts=Parts.join(parts),
        unit=np.concatenate(units),
        terms=np.concatenate(terms) if detector.has_terms else None,
        pattern=np.concatenate(pattern) if detector.has_terms else np.zeros(0, dtype=str),
        refused=refused,
        groups=[np.concatenate(column) for column in zip(*groups, strict=True)],
        watch=watch,
        day=np.concatenate(days) if days else None,
        sample=sample.inputs,
    )


def calibrate(
    detector: Detector,
    held: Held,
    *,
    policy: Policy,
    score: ScoreName = "default",
    cells: Cells | None = None,
    by_day: bool = False,
    ties: Ties = "conservative",
    aging: Aging | None = None,
) -> Detector:
    """The same detector with p-values, policy and baseline from `held`, which it must not have been trained on.

    `score` chooses what records are ranked by; see `flowguard.calibration.scores`. `cells` are by the groups that
    `held` has. `by_day`: units are days and so are batches, which drift then ranks among them. `ties` and `aging`: see
    `Calibration`; with aging `held` has days. Raises `CalibrationError` when there are too few records for the policy,
    in all or in a cell.
    """
    if not len(held):
        raise CalibrationError(
            "No record is left to calibrate on after the split, the excluded periods and the quarantine. "
            "Give more data or a larger split.calibration."
        )
    cells = cells or Cells()
    cell = cells.of(held.groups, len(held))
    calibration = Calibration.fit(
        held.parts,
        held.unit,
        policy=policy,
        score=score,
        cells=cells,
        cell=cell,
        dates=held.dates,
        ties=ties,
        aging=aging,
        day=held.day,
    )
    baseline = None if held.terms is None else Baseline.fit(held.terms, held.pattern)
    watched = None
    if held.watch is not None:
        places = held.watch.places
        records = held.watch.records(calibration.score(held.parts), cell if len(cells.names) > 1 else None)
        reference, earlier = drift.seal(records, held.unit[places])
        watched = Watched(reference, earlier if by_day else ())
    return replace(
        detector, calibration=calibration, baseline=baseline, watched=watched, expected=None, held=held.sample
    )


def check_hold_out(detector: Detector, holdout: Held) -> tuple[RateCheck, dict[str, RateCheck]]:
    """Asked against observed share on records that were used for nothing, with a standard error by unit.

    In all, and within each cell where there are several.
    """
    calibration = detector.calibration
    assert calibration is not None
    cell = calibration.cells.of(holdout.groups, len(holdout))
    # Where ties are broken by lot, any numbers serve as ids.
    p_value = calibration.p_value(calibration.score(holdout.parts), cell, key=range(len(holdout)))
    found = p_value <= calibration.rate_checked
    cells = calibration.check_cells(found, holdout.unit, cell) if len(calibration.sizes) > 1 else {}
    return calibration.check_rate(found, holdout.unit), cells


def _screened(part: Part, encoder: Encoder, screen: Screen) -> Part:
    """The records that the screen keeps, the same ones in every pass; all of a part of which it keeps none.

    They are encoded twice: the noise that training adds would let records at the limit come and go.
    """

    def keeps(batch: pa.RecordBatch) -> np.ndarray:
        return screen.keep(encoder.encode(batch))

    if not any(keeps(batch).any() for batch in part()):
        # Of a handful of validation records, strange ones say more than none.
        return part
    return lambda: (batch.filter(pa.array(keeps(batch))) for batch in part())


def _records(encoded: Encoded) -> Records:
    usable = np.flatnonzero([reason is None for reason in encoded.refused])
    part = encoded if len(usable) == len(encoded) else encoded.take(usable)
    return Records(inputs_of(part).to(torch.float32), torch.from_numpy(part.log_det))
