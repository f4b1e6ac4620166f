"""The detectors of the detection benchmark, each with one configuration for all tables, and how one is measured: in a
process of its own, on one thread, within a limit of time."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from detection_tables import Figures, split

Scorer = Callable[[np.ndarray], np.ndarray]
"""Rows -> scores, higher = stranger."""
Fit = Callable[[np.ndarray, int], Mapping[str, "Scorer | Exception"]]
"""(training rows, seed) -> scorers by the name of their score, "" the detector's own; or why there is none."""

SCORES = ("log_likelihood", "mixed", "largest", "typicality", "sum", "fisher", "higher_criticism")
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "maf affine": {"family": "maf", "kernel": 0},
    "maf spline": {"family": "maf", "transformer": "spline", "orders": 1, "layers": 3, "kernel": 0},
    "maf mixture": {"family": "maf", "transformer": "mixture", "orders": 1, "layers": 2, "kernel": 0},
    "realnvp": {"family": "realnvp", "layers": 6, "kernel": 0},
    "continuous": {"family": "continuous", "kernel": 0},
    "gaussian": {"family": "gaussian", "kernel": 0},
}
"""flowguard's other densities, each alone, without the experts beside it."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# What a detector is made of: results are kept apart by the code of these.
_ROOMS = ("tables", "encoding", "density", "training", "calibration", "detector")
_SLOW = [f"sklearn.{module}" for module in ("ensemble", "mixture", "neighbors", "svm")]
_SLOW += [f"pyod.models.{module}" for module in ("auto_encoder", "copod", "ecod", "hbos", "pca")]
_T = TypeVar("_T")


class OverLimit(Exception):
    """The work took longer than it was given."""


class Failed(Exception):
    """The work ended in an error, or its process did."""


@dataclass(frozen=True)
class Method:
    """A detector: `fit` and its settings; `library` is where it comes from, `raw` whether it gets rows as they are."""

    name: str
    library: str
    fit: Fit
    raw: bool = False
    scores: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def rows(self) -> list[str]:
        """The lines of the table that it makes: its own, and one for each other score."""
        return [self.name, *(f"{self.name} {score}" for score in self.scores)]


# -- the detectors ---------------------------------------------------------------------------------------------------


def methods(*, scores: bool = False, families: bool = False) -> list[Method]:
    """flowguard and its peers, these with PyOD's defaults whichever library they come from."""
    others = SCORES if scores else ()
    alone = [
        Method(f"flowguard {name}", "flowguard", partial(_flowguard, model=model), raw=True, settings={"model": model})
        for name, model in FAMILIES.items()
    ]
    return [
        Method("flowguard", "flowguard", partial(_flowguard, scores=others), raw=True, scores=others),
        *(alone if families else []),
        Method("KNN", "scikit-learn", partial(_neighbours, n_neighbors=5)),
        _of("LOF", "scikit-learn", "sklearn.neighbors:LocalOutlierFactor", n_neighbors=20, novelty=True),
        _of("IsolationForest", "scikit-learn", "sklearn.ensemble:IsolationForest", seeded=True, n_estimators=100),
        _of("OCSVM", "scikit-learn", "sklearn.svm:OneClassSVM", kernel="rbf", nu=0.5),
        _of("GMM", "scikit-learn", "sklearn.mixture:GaussianMixture", seeded=True, n_components=1),
        _of("ECOD", "pyod", "pyod.models.ecod:ECOD"),
        _of("COPOD", "pyod", "pyod.models.copod:COPOD"),
        _of("HBOS", "pyod", "pyod.models.hbos:HBOS", n_bins=10, alpha=0.1, tol=0.5),
        _of("PCA", "pyod", "pyod.models.pca:PCA", seeded=True),
        _of("AutoEncoder", "pyod", "pyod.models.auto_encoder:AutoEncoder", seeded=True, device="cpu", verbose=0),
    ]


def installed(library: str) -> bool:
    """Whether a library is there, without loading it."""
    return importlib.util.find_spec({"scikit-learn": "sklearn"}.get(library, library)) is not None


def settings(method: Method) -> dict[str, Any]:
    """What a result depends on besides table and seed: the detector's settings, and which code it is.

    Of flowguard the digest of its source stands for both, so that no result of older code is taken for one of today's.
    Other scores do not change the detector's own, and are none of it.
    """
    if method.library != "flowguard":
        code = f"{method.library} {version(method.library)}" if installed(method.library) else method.library
        return {**_keywords(method.fit), **method.settings, "code": code}
    (root,) = importlib.util.find_spec("flowguard").submodule_search_locations  # type: ignore[union-attr, misc]
    digest = hashlib.sha256()
    for path in sorted(path for room in _ROOMS for path in (Path(root) / room).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return {**method.settings, "code": f"flowguard {digest.hexdigest()[:16]}"}


def _of(name: str, library: str, path: str, *, seeded: bool = False, **given: Any) -> Method:
    return Method(name, library, partial(_estimator, path=path, seeded=seeded, **given))


def _keywords(fit: Fit) -> dict[str, Any]:
    return dict(fit.keywords) if isinstance(fit, partial) else {}


def _estimator(train: np.ndarray, seed: int, *, path: str, seeded: bool, **given: Any) -> dict[str, Scorer]:
    """Any estimator by `module:Class`: scikit-learn's score how ordinary rows are, PyOD's how strange."""
    module, name = path.split(":")
    made = getattr(importlib.import_module(module), name)
    fitted = made(**given, **({"random_state": seed} if seeded else {})).fit(train)
    if module.startswith("pyod."):
        return {"": fitted.decision_function}
    return {"": partial(_strangeness, fitted)}


def _strangeness(fitted: Any, rows: np.ndarray) -> np.ndarray:
    return -np.asarray(fitted.score_samples(rows))


def _neighbours(train: np.ndarray, seed: int, *, n_neighbors: int) -> dict[str, Scorer]:
    """The distance to the farthest of the nearest neighbours, which needs no score of the training rows."""
    from sklearn.neighbors import NearestNeighbors

    fitted = NearestNeighbors(n_neighbors=min(n_neighbors, len(train))).fit(train)
    return {"": lambda rows: fitted.kneighbors(rows)[0][:, -1]}


def _flowguard(
    train: np.ndarray, seed: int, *, scores: tuple[str, ...] = (), model: Mapping[str, Any] | None = None
) -> dict[str, Scorer | Exception]:
    """FlowDetector as it comes; its other scores by calibrating the same fit on the same held-out records again."""
    import pyarrow as pa
    from sklearn.utils import check_random_state

    from flowguard.calibration import FalseAlarmRate
    from flowguard.detector import FlowDetector, calibrate, defaults
    from flowguard.detector.frame import frame_of
    from flowguard.errors import FlowguardError

    face = FlowDetector(random_state=seed, model=None if model is None else dict(model)).fit(train)
    found: dict[str, Scorer | Exception] = {"": partial(_strangeness, face)}
    if not scores:
        return found
    # The records that the fit held out, dealt out as it does.
    table = pa.Table.from_pandas(frame_of(face, train, reset=False), preserve_index=False)
    *_, held = defaults.split(table, seed=int(check_random_state(seed).randint(2**31 - 1)))
    records = defaults.held_of(face.detector_, held)
    for score in scores:
        other = copy.copy(face)
        try:
            # Ranking does not depend on the level, and any number of records supports this one.
            other.detector_ = calibrate(face.detector_, records, policy=FalseAlarmRate(0.999999), score=score)
        except FlowguardError as error:
            found[score] = error
        else:
            found[score] = partial(_strangeness, other)
    return found


# -- measuring one ---------------------------------------------------------------------------------------------------


def measure(method: Method, path: Path, *, seed: int, rows: int) -> dict[str, Figures | str]:
    """Fit on the training half and score the test rows; figures, or what went wrong, by line of the table."""
    dealt = split(path, rows=rows, seed=seed)
    found = scored(method, dealt.train, dealt.test, seed=seed)
    return {line: figures(one, dealt.label) for line, one in found.items()}


@dataclass(frozen=True)
class Scored:
    """Scores of test rows, higher = stranger, with the seconds that they and the fit took."""

    score: np.ndarray
    fit_seconds: float
    score_seconds: float
    trained: int


def scored(method: Method, train: Any, test: Any, *, seed: int) -> dict[str, Scored | str]:
    """Fit on `train` and score `test`, by line of the table; what went wrong where there are no scores.

    A detector that is not `raw` gets both standardised on `train`, so these have to be numbers.
    """
    from sklearn.preprocessing import StandardScaler

    if not method.raw:
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
    if method.library == "pyod":
        # Parts of it are compiled at the first call in a process, which is no work on the table.
        noise = np.random.default_rng(0).normal(size=(64, 2))
        method.fit(noise, seed)[""](noise)  # type: ignore[operator]
    began = time.perf_counter()
    scorers = method.fit(train, seed)
    fitted = time.perf_counter() - began
    found: dict[str, Scored | str] = {}
    for line, scorer in zip(method.rows(), (scorers[score] for score in ("", *method.scores)), strict=True):
        if isinstance(scorer, Exception):
            found[line] = f"{type(scorer).__name__}: {scorer}"
            continue
        began = time.perf_counter()
        try:
            score = np.asarray(scorer(test), dtype=np.float64)
        except Exception as error:
            found[line] = f"{type(error).__name__}: {error}"
        else:
            found[line] = Scored(score, fitted, time.perf_counter() - began, len(train))
    return found


def figures(one: Scored | str, label: np.ndarray, among: np.ndarray | None = None) -> Figures | str:
    """What comes of scores beside the label (True = anomaly), `among` only some rows; an error stays what it is."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if isinstance(one, str):
        return one
    score = one.score if among is None else one.score[among]
    label = label if among is None else label[among]
    try:
        areas = float(roc_auc_score(label, score)), float(average_precision_score(label, score))
    except ValueError as error:
        return f"{type(error).__name__}: {error}"
    return Figures(*areas, one.fit_seconds, one.score_seconds, one.trained, len(one.score))


def prepare() -> None:
    """One thread for every library of the processes to come, and what is slow to load is loaded once for all."""
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    multiprocessing.set_forkserver_preload(
        ["torch", "flowguard.detector", "sklearn.metrics", "sklearn.preprocessing", *_SLOW]
    )


def limited(work: Callable[..., _T], *args: Any, limit: float, **given: Any) -> _T:
    """What `work` returns, in a process of its own that ends after `limit` seconds.

    Errors: OverLimit; Failed with the error's words, or with the exit code of a process that was ended.
    """
    spawn = multiprocessing.get_context("forkserver")
    receive, send = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_answer, args=(send, partial(work, *args, **given), limit), daemon=True)
    process.start()
    send.close()
    try:
        if not receive.poll(limit):
            raise OverLimit(f"over {limit:g} s")
        done, answer = receive.recv()
        # It has answered; a moment to give back what it holds of the system, and no longer.
        process.join(5)
    except EOFError:
        process.join()
        raise Failed(f"its process ended with exit code {process.exitcode}, perhaps for lack of memory") from None
    finally:
        process.kill()
        process.join()
        receive.close()
    if not done:
        raise Failed(answer)
    return answer  # type: ignore[no-any-return]


def _answer(send: Any, work: Callable[[], Any], limit: float) -> None:
    # Where the process that waits for this one is gone, nothing else ends it.
    signal.alarm(int(limit) + 60)
    # What a library warns of (duplicate values, short tables) would come 900 times over.
    warnings.simplefilter("ignore")
    try:
        send.send((True, work()))
    except Exception as error:
        send.send((False, f"{type(error).__name__}: {error}"))
