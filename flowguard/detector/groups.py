"""What records are grouped by: values of raw columns, or the pattern, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from flowguard.calibration.cells import MISSING, counted
from flowguard.detector.evaluate import pattern_of
from flowguard.encoding import Encoded, Encoder

PATTERN = "pattern"
"""The word that groups records by what is missing, at an atom or continuous, instead of by a column."""


def group_values(by: Sequence[str], batch: pa.RecordBatch, encoded: Encoded) -> list[np.ndarray]:
    """Of each of `by` the value of every record as text, (n,) each; what is missing is a value too.

    >>> batch = pa.RecordBatch.from_pydict({"carrier": ["UA", None]})
    >>> [values.tolist() for values in group_values(["carrier"], batch, None)]
    [['UA', '(missing)']]
    """
    return [
        pattern_of(encoded.codes, list(encoded.numbers)) if name == PATTERN else _text(batch.column(name))
        for name in by
    ]


def group_counts(by: Sequence[str], batches: Iterable[pa.RecordBatch], encoder: Encoder) -> Counter[tuple[str, ...]]:
    """How many records have each combination of the values of `by`; records that cannot be scored do not count."""

    def values(batch: pa.RecordBatch) -> list[np.ndarray]:
        encoded = encoder.encode(batch)
        usable = np.array([why is None for why in encoded.refused], dtype=bool)
        return [column[usable] for column in group_values(by, batch, encoded)]

    return counted(values(batch) for batch in batches) if by else Counter()


def _text(column: pa.Array) -> np.ndarray:
    text = column.cast(pa.string()).fill_null(MISSING)
    return np.asarray(text.to_numpy(zero_copy_only=False), dtype=object).astype(str)
