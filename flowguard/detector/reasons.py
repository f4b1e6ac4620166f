"""Why records are strange: the density's answers, in the words and units of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flowguard.detector.evaluate import Evaluation, inputs_of, sealed_threads
from flowguard.encoding import Encoded
from flowguard.explain import Reason, reasons_for
from flowguard.explain.answers import Answers
from flowguard.explain.expected import ROUNDS
from flowguard.explain.given import context_of, settings
from flowguard.explain.named import bests, named

if TYPE_CHECKING:
    from flowguard.detector.detector import Detector


def reasons_of(
    detector: Detector,
    batch: pa.RecordBatch,
    encoded: Encoded,
    evaluation: Evaluation,
    rows: np.ndarray,
    *,
    record_ids: Sequence[str],
    top: int,
) -> list[list[Reason]]:
    """The reasons of the records at `rows`, which `record_ids` names, strongest first; see `Detector.reasons`."""
    if not len(rows):
        return []
    encoder, part = detector.encoder, encoded.take(rows)
    terms, shares = _terms(detector, part, evaluation, rows)
    read = list(dict.fromkeys(encoder.columns))
    # The values as they were delivered: decoding the encoded ones would add rounding.
    raw = {name: batch.column(name).take(pa.array(rows)).to_pylist() for name in read}
    by_feature = {feature.name: raw[feature.column] for feature in encoder.features}
    values = np.column_stack([_plain(by_feature[feature.name], feature.kind) for feature in encoder.features])
    columns = detector.density.discrete.columns
    with sealed_threads(detector.engine.threads):
        answers = Answers(detector.density, encoder, inputs_of(part), detector.usual, shares=shares, top=top)
    return reasons_for(
        record_ids,
        encoder.feature_names,
        values=values,
        shares=shares,
        terms=terms,
        contrasts=answers.contrasts,
        expected=answers.ranges,
        named=named(columns, encoder, part.codes, by_feature, detector.units, answers.of),
        best=bests(encoder, columns, answers, detector.units),
        pairs=answers.pairs,
        settings=settings(context_of(encoder, raw, detector.redact), detector.units, len(rows)),
        units=detector.units,
        redact=detector.redact,
        top=top,
    )


def ranges_of(detector: Detector, encoded: Encoded, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Where 90 % of ordinary values of one number or integer lie given the rest of each record, (n,) each.

    In the units of the table, whether or not the record is strange or has a value there.
    """
    column = detector.encoder.feature_names.index(name)
    with sealed_threads(detector.engine.threads):
        among = detector.usual.conditionals(detector.density, detector.encoder, inputs_of(encoded))
        [found] = among.of([(column, np.arange(len(encoded)))], rounds=ROUNDS)
    assert found.profile is not None, "a category has probabilities and no range"
    levels = detector.usual.levels[column]
    low, high = (detector.encoder.decode(name, found.profile.quantile(q)) for q in levels)
    return low, high


def _terms(
    detector: Detector, part: Encoded, evaluation: Evaluation, rows: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Terms and shares by column, (n, d) each; None for a family without them, or before a calibration."""
    if not detector.has_terms or detector.baseline is None:
        return None, None
    if evaluation.terms is None:
        evaluation, rows = detector.evaluate(part, by_column=True), np.arange(len(rows))
    terms = evaluation.terms
    assert terms is not None
    shares, _ = detector.baseline.shares(terms[rows], evaluation.pattern[rows])
    # The part of several column orders belongs to no column, so it is no reason; it is the last where it exists.
    count = len(detector.encoder.feature_names)
    return terms[rows, :count], shares[:, :count]


def _plain(values: Sequence[Any], kind: str) -> np.ndarray:
    """Delivered values as numbers, NaN where there is none: of a category always."""
    if kind == "category":
        return np.full(len(values), np.nan)
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
