"""The tables of the detection benchmark: how their rows are dealt out (train on half of the normal rows, test on the
other half and every anomaly), and the figures that are kept of each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 50_000
CHOSEN = 14
"""How many tables, from the lowest number on, choices were made on; the others were only looked at afterwards."""


@dataclass(frozen=True)
class Split:
    """Training rows (all normal) and test rows, (n, columns) in the file's own type, with the test rows' labels.

    `label` (n,) bool: True = anomaly. The places of the rows in the file are kept for whoever wants to check.
    """

    train: np.ndarray
    test: np.ndarray
    label: np.ndarray
    train_rows: np.ndarray
    test_rows: np.ndarray


def split(path: Path, *, rows: int = ROWS, seed: int) -> Split:
    """The rows of one table in a random order of `seed`, at most `rows` of them, dealt out.

    Errors: ValueError for a file without both normal rows and anomalies, or with less than two normal rows.
    """
    with np.load(path) as arrays:
        x, y = arrays["X"], arrays["y"].ravel()
    order = np.random.default_rng(seed).permutation(len(x))[:rows]
    strange = y[order] == 1
    normal, odd = order[~strange], order[strange]
    if len(normal) < 2 or not len(odd):
        raise ValueError(
            f"{path.name} has {len(normal)} normal rows and {len(odd)} anomalies among the {len(order)} rows kept; "
            "expected at least 2 and 1. Keep more rows."
        )
    # The order is random already, so the first half of it is a random half.
    half = len(normal) // 2
    train, test = normal[:half], np.concatenate([normal[half:], odd])
    label = np.arange(len(test)) >= len(normal) - half
    return Split(x[train], x[test], label, train, test)


def tables(folder: Path) -> list[Path]:
    """Every table of a folder, by the number that its name begins with.

    >>> tables(Path("no such folder"))
    []
    """
    return sorted(folder.glob("*.npz"), key=lambda path: (number(path), path.stem))


def number(path: Path) -> int:
    """The number that a table's name begins with; beyond all others where there is none.

    >>> number(Path("22_magic.gamma.npz"))
    22
    """
    head = path.stem.split("_")[0]
    return int(head) if head.isdigit() else 10**9


def named(paths: Sequence[Path], names: str | None) -> list[Path]:
    """The tables of a comma-separated list of numbers and names, with or without their number; all of them for None.

    Errors: ValueError for one that is not there.

    >>> [path.stem for path in named([Path("4_breastw.npz"), Path("45_wine.npz")], "wine,4")]
    ['4_breastw', '45_wine']
    """
    if names is None:
        return list(paths)
    asked = [name.strip() for name in names.split(",") if name.strip()]
    known = {path: {path.stem, path.stem.partition("_")[2], path.stem.split("_")[0]} for path in paths}
    lacking = [name for name in asked if not any(name in its for its in known.values())]
    if lacking:
        there = ", ".join(path.stem for path in paths)
        raise ValueError(f"There is no table {', '.join(lacking)}; expected numbers or names of {there}.")
    return [path for path, its in known.items() if its & set(asked)]


# -- the figures -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """What was measured of one scorer: areas in [0, 1], seconds of fitting and of scoring `tested` rows."""

    auroc: float
    average_precision: float
    fit_seconds: float
    score_seconds: float
    trained: int
    tested: int


@dataclass(frozen=True)
class Outcome:
    """What one line of the table got from one seed: figures, or an error and the limit it ran under."""

    table: str
    line: str
    seed: int
    figures: Figures | None
    error: str | None = None
    limit: float | None = None

    def stands(self, limit: float) -> bool:
        """Whether it is to be used again: not where it failed, nor where more time is given now."""
        return self.figures is not None or (self.limit is not None and limit <= self.limit)


def place(folder: Path, path: Path, line: str, *, seed: int, rows: int, made_by: Mapping[str, Any]) -> Path:
    """Where the result of a line is kept: its name holds all that it depends on."""
    data = hashlib.sha256(path.read_bytes()).hexdigest()
    key = json.dumps({"data": data, "rows": rows, **made_by}, sort_keys=True)
    short = hashlib.sha256(key.encode()).hexdigest()[:12]
    return folder / path.stem / f"{line.replace(' ', '-')}-seed{seed}-{short}.json"


def kept(path: Path) -> Outcome | None:
    """The result in a file; None where there is none, or none that can be read."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["outcome"]
        figures = stored.pop("figures")
        return Outcome(**stored, figures=None if figures is None else Figures(**figures))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(path: Path, outcome: Outcome, made_by: Mapping[str, Any]) -> None:
    """Write to a temporary name, then rename: a run that is ended leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"outcome": asdict(outcome), "settings": dict(made_by)}, indent=1), encoding="utf-8")
    draft.replace(path)
