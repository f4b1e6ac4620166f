"""The methods of the reasons benchmark: each flags records at one calibrated level and names the column that made one
strange. flowguard gets the columns as they are; the others get numbers, and only features can be named."""

from __future__ import annotations

import hashlib
import importlib.util
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from reasons_records import Records, as_numbers

REASONS = 3
"""How many reasons are asked for, each with its expected range."""
_ROOMS = ("tables", "encoding", "density", "training", "calibration", "explain", "detector")


class Fitted(NamedTuple):
    """What a method learned: p-values of records, and for each of some records the column named first, of a pair with
    its partner. `ranges` are what is expected of each column, where the method tells it; `costly`: only what is flagged
    is explained."""

    p_values: Callable[[pd.DataFrame], np.ndarray]
    first: Callable[[pd.DataFrame], list[list[str]]]
    ranges: Callable[[pd.DataFrame], Mapping[str, tuple[np.ndarray, np.ndarray]]] | None = None
    costly: bool = False


@dataclass(frozen=True)
class Method:
    """A method by the name of its line; `library` is what it needs."""

    name: str
    library: str
    fit: Callable[[Records, int], Fitted]


def methods() -> list[Method]:
    """flowguard and its peers."""
    return [
        Method("flowguard", "flowguard", _flowguard),
        Method("IsolationForest, SHAP", "shap", partial(_peer, learn=_forest)),
        Method("Gaussian, given the rest", "numpy", partial(_peer, learn=_gaussian)),
        Method("column tails", "numpy", partial(_peer, learn=_tails)),
        Method("z-scores", "numpy", partial(_peer, learn=_deviations)),
    ]


def settings(method: Method) -> dict[str, Any]:
    """What a result depends on besides its records: of flowguard the source, of the others this file and versions."""
    if method.library == "flowguard":
        (root,) = importlib.util.find_spec("flowguard").submodule_search_locations  # type: ignore[union-attr, misc]
        paths = sorted(path for room in _ROOMS for path in (Path(root) / room).rglob("*.py"))
    else:
        paths = [Path(__file__)]
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    there = [name for name in ("shap", "scikit-learn") if method.library == "shap"]
    return {"code": digest.hexdigest()[:16], **{name: version(name) for name in there}}


# -- one method on the records of one table --------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """What a method said: of each altered record whether it is flagged, and the column named first, with its partner
    where it is one of a pair (empty where it was not explained); how many of `held` ordinary records are flagged;
    seconds of the processor, all threads together, of the fit, and of explaining `explained` records."""

    flagged: list[bool]
    first: list[list[str]]
    held: int
    alarms: int
    fit_seconds: float
    explained: int
    explain_seconds: float


def judge(method: Method, records: Records, *, level: float, seed: int) -> Judged:
    """Fit, flag at `level`, and name a column of the altered records, of a costly method of those that it flags."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        began = time.process_time()
        fitted = method.fit(records, seed)
        took = time.process_time() - began
        alarms = fitted.p_values(records.held) <= level
        flagged = fitted.p_values(records.altered) <= level
        asked = np.flatnonzero(flagged if fitted.costly else np.ones(len(flagged), dtype=bool))
        strange = records.altered.iloc[asked].reset_index(drop=True)
        first: list[list[str]] = [[] for _ in flagged]
        seconds = 0.0
        if len(strange):
            # What is loaded or compiled at the first call is no work on these records.
            fitted.first(strange[:2])
            began = time.process_time()
            named = fitted.first(strange)
            seconds = time.process_time() - began
            for place, names in zip(asked, named, strict=True):
                first[place] = names
    return Judged(flagged.tolist(), first, len(alarms), int(alarms.sum()), took, len(strange), seconds)


def conformal(held: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """p-values by rank among held-out scores, higher = stranger.

    >>> conformal(np.array([1.0, 2.0, 3.0]), np.array([4.0, 2.0])).tolist()
    [0.25, 0.75]
    """
    ordered = np.sort(held)
    above = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return (1 + above) / (1 + len(ordered))


# -- flowguard -------------------------------------------------------------------------------------------------------


def _flowguard(records: Records, seed: int) -> Fitted:
    """A table of plain numbers by FlowDetector as it comes, a pipeline's records by its own file."""
    face = _by_pipeline(records) if records.pipeline else _by_face(records, seed)

    def first(frame: pd.DataFrame) -> list[list[str]]:
        said = face.explain(frame, top=REASONS)
        strongest = said[said["rank"] == 1].sort_values("row")
        return [
            [column] if partner is None else [column, partner]
            for column, partner in zip(strongest["column"], strongest["partner"], strict=True)
        ]

    return Fitted(face.p_values, first, partial(_ranges, face), costly=True)


def _by_face(records: Records, seed: int) -> Any:
    from flowguard.detector import FlowDetector

    return FlowDetector(random_state=seed).fit(pd.concat([records.fit, records.calibration], ignore_index=True))


def _by_pipeline(records: Records) -> Any:
    from flowguard.detector import FlowDetector
    from flowguard.stages.calibrate import calibrate
    from flowguard.stages.deal import deal
    from flowguard.stages.fit import fit

    assert records.pipeline is not None
    dealt = deal(records.pipeline)
    # A fit that was ended would be gone on with, perhaps by other code.
    (dealt.folder / "checkpoint.pt").unlink(missing_ok=True)
    fitted = fit(records.pipeline, dealt)
    return FlowDetector.load(calibrate(records.pipeline, fitted.folder).folder)


def _ranges(face: Any, frame: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The 90 % range of each number given the rest of its record, strange or not; NaN where it is at an atom."""
    from flowguard.detector.reasons import ranges_of
    from flowguard.tables.arrow import conform

    detector = face.detector_
    encoded = detector.encode(conform(frame, detector.columns))
    found = {}
    for place, feature in enumerate(detector.encoder.features):
        if feature.kind == "number":
            bounds = ranges_of(detector, encoded, feature.name)
            low, high = (np.where(encoded.codes[:, place] == 0, bound, np.nan) for bound in bounds)
            found[feature.name] = low, high
    return found


# -- peers -----------------------------------------------------------------------------------------------------------

Scorer = Callable[[np.ndarray], np.ndarray]
"""Rows of standardised numbers -> scores (n,), or how strange each column is (n, columns); higher = stranger."""
Learn = Callable[[np.ndarray, int, list[int]], tuple[Scorer, Scorer]]
"""(training rows, seed, the places of the features) -> scores, and how strange each column makes a row."""


def _peer(records: Records, seed: int, *, learn: Learn) -> Fitted:
    """A method for numbers: columns standardised on the training rows, what is missing at their mean."""
    train = as_numbers(records.fit, records.fit)
    names, mean, deviation = list(train.columns), train.mean(), train.std().replace(0.0, 1.0)

    def standardised(frame: pd.DataFrame) -> np.ndarray:
        return ((as_numbers(frame, records.fit) - mean) / deviation).fillna(0.0).to_numpy()

    features = [names.index(name) for name in records.features]
    score, columns = learn(standardised(records.fit), seed, features)
    held = score(standardised(records.calibration))

    def first(frame: pd.DataFrame) -> list[list[str]]:
        return [[records.features[place]] for place in columns(standardised(frame))[:, features].argmax(1)]

    return Fitted(lambda frame: conformal(held, score(standardised(frame))), first)


def _forest(train: np.ndarray, seed: int, features: list[int]) -> tuple[Scorer, Scorer]:
    """An isolation forest of 100 trees; the column that shortens a record's path most, by SHAP's TreeExplainer."""
    from sklearn.ensemble import IsolationForest

    shap = importlib.import_module("shap")
    forest = IsolationForest(n_estimators=100, random_state=seed).fit(train)
    explainer = shap.TreeExplainer(forest)
    # It explains the length of the path, which is short where a record is strange.
    return (lambda rows: -forest.score_samples(rows)), (lambda rows: -np.asarray(explainer.shap_values(rows)))


def _gaussian(train: np.ndarray, seed: int, features: list[int]) -> tuple[Scorer, Scorer]:
    """A Gaussian of all columns; each column's deviation from its mean given all others."""
    precision = np.linalg.inv(np.cov(train.T) + 1e-6 * np.eye(train.shape[1]))

    def given_the_rest(rows: np.ndarray) -> np.ndarray:
        return np.abs(rows @ precision) / np.sqrt(np.diag(precision))

    return (lambda rows: np.einsum("ij,jk,ik->i", rows, precision, rows)), given_the_rest


def _tails(train: np.ndarray, seed: int, features: list[int]) -> tuple[Scorer, Scorer]:
    """As ECOD: the sum over the features of -log of how many training values lie as far out; ties go by deviation."""
    ordered = np.sort(train, axis=0)
    n = len(train)

    def tails(rows: np.ndarray) -> np.ndarray:
        found = np.zeros_like(rows)
        for place in features:
            below = np.searchsorted(ordered[:, place], rows[:, place], side="right")
            above = n - np.searchsorted(ordered[:, place], rows[:, place], side="left")
            found[:, place] = -np.log((np.minimum(below, above) + 1) / (n + 1))
        return found

    # Beyond all training values every column is as strange as another; deviations are too small to decide else.
    return (lambda rows: tails(rows).sum(1)), (lambda rows: tails(rows) + 1e-9 * np.minimum(np.abs(rows), 1e3))


def _deviations(train: np.ndarray, seed: int, features: list[int]) -> tuple[Scorer, Scorer]:
    """The largest of the features' deviations from the mean, each column by itself."""
    return (lambda rows: np.abs(rows[:, features]).max(1)), np.abs
