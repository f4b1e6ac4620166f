"""How large a density may be and how it is trained, from the size of the table alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

LARGE = 20_000
"""Training records from which on nothing is held back."""
STEPS = 1560
"""Training steps, about: those of 40 epochs of `LARGE` records in batches of 512."""

_LEAST = 0.05


@dataclass(frozen=True)
class Capacity:
    """The networks (`hidden`, `dropout`, `noise`) and their training; the names are those of a pipeline's `model`."""

    hidden: tuple[int, ...]
    dropout: float
    noise: float
    weight_decay: float
    batch_size: int
    epochs: int
    patience: int


def capacity(rows: int, columns: int) -> Capacity:
    """What suits a table of `rows` training records and `columns` features: what the pipeline file leaves open.

    Nothing but the size is looked at, no value and no label. Smaller tables are taken in smaller batches and seen more
    often, so that about as many steps are taken whatever their size. The largest noise falls as there are more records
    for each column, like the standard error of a mean; how much of it is of use is chosen afterwards (`NoiseLevel`).
    Below 0.05 deviations it is not worth its cost, and from `LARGE` records on there is none. Dropout was of no use on
    average and stays out unless it is asked for. Batches, epochs, patience and decay go by the records alone.

    Errors: ValueError for fewer than one column or a negative number of records.

    Example:
        >>> capacity(80, 20).batch_size, capacity(80, 20).epochs
        (16, 200)
        >>> capacity(1_000_000, 3)
        Capacity(hidden=(64, 64), dropout=0.0, noise=0.0, weight_decay=0.0001, batch_size=512, epochs=40, patience=6)
    """
    if rows < 0 or columns < 1:
        raise ValueError(f"a table has records and at least one column, not {rows} and {columns}")
    noise = min(0.6, math.sqrt(columns / max(rows, 1)))
    batch = 2 ** round(math.log2(min(max(rows / 16, 16), 512)))
    epochs = min(max(round(STEPS * batch / max(rows, 1)), 40), 200)
    return Capacity(
        hidden=(64, 64) if rows >= 500 else (32, 32),
        dropout=0.0,
        noise=round(noise, 3) if rows < LARGE and noise >= _LEAST else 0.0,
        weight_decay=1e-4,
        batch_size=batch,
        epochs=epochs,
        patience=max(6, round(0.15 * epochs)),
    )
