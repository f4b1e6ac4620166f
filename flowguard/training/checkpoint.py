"""The state of an unfinished training run, written after every epoch and read without unpickling objects."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the next epoch needs."""

    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    steps: int
    parts: dict[str, dict[str, Any]]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    history: list[dict[str, Any]]


def save_checkpoint(path: Path, *, run_key: str, **state: Any) -> None:
    """Write the state beside its final name and rename it, so that a kill leaves the former one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    torch.save({"run_key": run_key, **state}, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path, *, run_key: str, device: torch.device) -> Checkpoint | None:
    """The state at `path`, or None when there is none, it is damaged, or it belongs to another run.

    `run_key` names data, settings and seed: weights of another run must not be continued.
    """
    if not path.exists():
        return None
    try:
        # weights_only admits tensors and plain containers alone: a checkpoint cannot run code.
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception:
        # A damaged checkpoint costs a fresh start, never a failed night.
        return None
    if not isinstance(state, dict) or state.pop("run_key", None) != run_key:
        return None
    return Checkpoint(**state)
