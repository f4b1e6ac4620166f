"""The reasons of what a served version flags, for the callers that ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flowguard.errors import InputError
from flowguard.registry.signature import REASONS
from flowguard.tables.arrow import conform

if TYPE_CHECKING:
    from flowguard.detector import Detector


def with_reasons(detector: Detector, records: pd.DataFrame, scores: pd.DataFrame, top: int) -> pd.DataFrame:
    """`scores` with the `top` reasons of each flagged record, strongest first; as it is where `top` is 0.

    Two columns of lists, empty for what was not flagged: `reasons` in words, and `reason_columns` the column that each
    of them names. Raises `InputError` for a number that is none.
    """
    if not isinstance(top, int | np.integer) or isinstance(top, bool) or top < 0:
        raise InputError(f"The parameter reasons is {top!r}; expected how many reasons to give, 0 or more.")
    if not top:
        return scores
    words: list[list[str]] = [[] for _ in range(len(scores))]
    columns: list[list[str]] = [[] for _ in range(len(scores))]
    flagged = np.flatnonzero(scores["flag"].to_numpy(dtype=bool))
    if len(flagged):
        batch = conform(records.iloc[flagged], detector.columns)
        encoded = detector.encode(batch)
        found = detector.reasons(
            batch,
            encoded,
            detector.evaluate(encoded, by_column=True),
            np.arange(len(flagged)),
            record_ids=scores["record_id"].iloc[flagged].tolist(),
            top=int(top),
        )
        for row, its in zip(flagged.tolist(), found, strict=True):
            words[row] = [reason.words for reason in its]
            columns[row] = [reason.column for reason in its]
    # As Series of objects: lists of one length would be taken for a table.
    lists = (pd.Series(each, index=scores.index, dtype=object) for each in (words, columns))
    return scores.assign(**dict(zip(REASONS, lists, strict=True)))
