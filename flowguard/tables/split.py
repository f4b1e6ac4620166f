"""Deal whole units (days, customers) out to train, validation, calibration and hold-out by their hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from flowguard.tables.hashing import hash_rows, mix, text_seed


def part_of(batch: pa.RecordBatch, *, unit: Sequence[str], shares: Mapping[str, float], salt: str = "") -> np.ndarray:
    """The part each record belongs to, by the hash of its unit's values (of the whole record without a unit).

    Law: a unit lies in one part, wherever and whenever its records are read; each unit lies in a part with
    probability equal to its share. `shares` maps parts to shares that sum to 1. Returns an array of names.
    """
    names = list(shares)
    edges = np.cumsum(np.array([shares[name] for name in names], dtype=np.float64))
    if len(names) == 0 or abs(edges[-1] - 1.0) > 1e-6:
        raise ValueError(f"shares must sum to 1, not {edges[-1] if len(names) else 0:g}")
    rows = hash_rows(batch, tuple(unit) or tuple(batch.schema.names))
    drawn = mix(rows[:, 0] ^ text_seed(f"split:{salt}")[0])
    uniform = (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.array(names)[np.searchsorted(edges[:-1], uniform, side="right")]


def unit_of(batch: pa.RecordBatch, *, unit: Sequence[str]) -> np.ndarray:
    """A number per record that is equal for records of one unit, for errors clustered by unit; shape (rows,),
    uint64."""
    return hash_rows(batch, tuple(unit) or tuple(batch.schema.names))[:, 0]
