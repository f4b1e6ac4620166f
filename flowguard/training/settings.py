"""How a density is trained: what is set, and what follows from the size of the table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flowguard.density import Capacity, capacity


@dataclass(frozen=True)
class TrainingSettings:
    """How to train: `patience` counts epochs without a better validation likelihood, `clip` bounds the gradient.

    `contamination`, from 0 to below 0.5, is the share of records that are taken not to belong. The loop does not look
    at it: who makes the streams leaves twice that share out of them, see `flowguard.detector.screen`.
    What is None follows from the size of the table: `plan`.

    Errors: ValueError for another share.
    """

    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 2e-3
    weight_decay: float | None = None
    patience: int | None = None
    clip: float = 5.0
    seed: int = 0
    buffer_rows: int = 262_144
    contamination: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.contamination < 0.5:
            raise ValueError(f"contamination is a share from 0 to below 0.5, not {self.contamination}")

    def plan(self, rows: int) -> Capacity:
        """What is set here, and the rest by the rule for a table of so many training records.

        >>> TrainingSettings(epochs=3).plan(50_000).epochs, TrainingSettings().plan(50_000).epochs
        (3, 40)
        """
        # Training goes by the records alone: the number of columns is for the networks.
        wishes = {name: getattr(self, name) for name in ("epochs", "batch_size", "weight_decay", "patience")}
        return replace(capacity(rows, columns=1), **{name: wish for name, wish in wishes.items() if wish is not None})
