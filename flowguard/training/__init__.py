"""The training loop: minibatches from a stream, early stopping, checkpoints that resume to the same bits."""

from __future__ import annotations

from flowguard.training.device import choose_device
from flowguard.training.loop import Epoch, TrainingResult, train
from flowguard.training.settings import TrainingSettings
from flowguard.training.stream import Records, shuffled_batches

__all__ = [
    "Epoch",
    "Records",
    "TrainingResult",
    "TrainingSettings",
    "choose_device",
    "shuffled_batches",
    "train",
]
