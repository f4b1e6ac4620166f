"""The connections of NSL-KDD as the mixed benchmark deals them out: columns as they are, or as numbers for detectors
that need them, and which family of attacks each test row is of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

TRAIN, TEST, NAMES, FAMILIES = "KDDTrain_20Percent.txt", "KDDTest.txt", "field_names.csv", "attack_types.csv"
FILES = (TRAIN, TEST, NAMES, FAMILIES)
NORMAL, NEW = "normal", "new"


@dataclass(frozen=True)
class Connections:
    """Training rows (all normal) and test rows with the same columns; neither label nor difficulty is one of them.

    `family` (n,) says of each test row what it is: "normal", a family of attacks such as "dos", or "new" for attacks
    that the list of families does not name.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    family: np.ndarray

    @property
    def label(self) -> np.ndarray:
        """True = attack."""
        return self.family != NORMAL

    def as_numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows with each text column as one column of 0 and 1 for each of its training levels; others give 0."""
        from sklearn.compose import make_column_selector, make_column_transformer
        from sklearn.preprocessing import OneHotEncoder

        text = make_column_selector(dtype_exclude="number")
        levels = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        encoder = make_column_transformer((levels, text), remainder="passthrough")
        train = encoder.fit_transform(self.train)
        return np.asarray(train, dtype=np.float64), np.asarray(encoder.transform(self.test), dtype=np.float64)


def connections(folder: Path, *, rows: int | None = None) -> Connections:
    """What is in the folder's files, the first `rows` of each.

    Errors: ValueError where a file has another number of columns than there are names, or no normal row to train on.
    """
    names = [line.split(",")[0] for line in _lines(folder / NAMES)]
    families = dict(line.split(",") for line in _lines(folder / FAMILIES))
    parts = [_read(folder / name, names, rows) for name in (TRAIN, TEST)]
    train, test = (part[names] for part in parts)
    normal = parts[0]["label"] == NORMAL
    if not normal.any():
        raise ValueError(f"{TRAIN} has no row of label {NORMAL!r} to train on.")
    family = parts[1]["label"].map(lambda label: families.get(label, NEW)).to_numpy(dtype=str)
    return Connections(train[normal].reset_index(drop=True), test, family)


def digest(folder: Path) -> str:
    """Names the bytes of all files."""
    found = hashlib.sha256()
    for name in FILES:
        found.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return found.hexdigest()


def _lines(path: Path) -> list[str]:
    # The files end their lines each in its own way.
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _read(path: Path, names: list[str], rows: int | None) -> pd.DataFrame:
    frame = pd.read_csv(path, header=None, nrows=rows)
    if len(frame.columns) != len(names) + 2:
        raise ValueError(
            f"{path.name} has {len(frame.columns)} columns; expected the {len(names)} of {NAMES}, label and difficulty."
        )
    return frame.set_axis([*names, "label", "difficulty"], axis=1)
