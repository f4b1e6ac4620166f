"""Register: a sealed bundle becomes one version of the pipeline's model in MLflow."""

from __future__ import annotations

import getpass
import logging
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from flowguard.calibration import Calibration
from flowguard.detector import Detector, load
from flowguard.logs import note, scoped
from flowguard.registry import CHALLENGER, CHAMPION, Version
from flowguard.reports import calibration_plot, render_version, training_plot
from flowguard.stages.exclude import excluded_of
from flowguard.stages.models import holder, note_outside
from flowguard.stages.version import version_report
from flowguard.stages.workspace import Workspace

LOG = logging.getLogger("flowguard.register")
EXCLUDED = "excluded"
"""The tag that says in words which confirmed anomalies a version was made without."""


@dataclass(frozen=True)
class Registered:
    """A version in the registry and the alias that it got: champion, challenger, or what it had before."""

    version: Version
    known: bool


@scoped
def register(pipeline: str | Path, bundle: Path) -> Registered:
    """Log the bundle's parameters, metrics, plots and files, and register it.

    A pipeline's first version becomes champion, later ones challenger. A bundle whose digest is registered already is
    not registered again: the same data, settings and seed make the same version.
    """
    workspace = Workspace.open(pipeline)
    spec, registry = workspace.pipeline, workspace.registry
    detector = load(bundle)
    assert detector.calibration is not None, "only calibrated bundles are registered"
    dates = detector.calibration.dates
    excluded = excluded_of(detector)
    known = registry.find(spec.name, detector.digest)
    if known is not None:
        note(version=known.version)
        LOG.info("registered before as %s", known)
        return Registered(known, known=True)
    before = {alias: holder(registry, spec.name, alias) for alias in (CHAMPION, CHALLENGER)}
    version = registry.log_version(
        bundle,
        name=spec.name,
        params=_params(detector),
        history=detector.history,
        metrics=_metrics(detector),
        plots={
            "training.svg": training_plot(detector.history),
            "calibration.svg": calibration_plot(detector.calibration),
            "version.html": render_version(version_report(workspace, detector)),
        },
        tags={
            "pipeline": spec.name,
            "measure_id": detector.measure_id,
            "fingerprint": str(detector.provenance["fingerprint"]),
            "training": str(detector.provenance["training"]),
            **({"calibrated_from": dates[0], "calibrated_to": dates[1]} if dates else {}),
            **({} if excluded is None else {EXCLUDED: excluded.words}),
            **({"recalibrated": str(origin["version"])} if (origin := detector.provenance.get("recalibrated")) else {}),
        },
        inputs=dict(detector.input_schema()),
        key=list(detector.key),
        redact=detector.redact,
    )
    _note(workspace, version, before)
    note(version=version.version)
    LOG.info("registered as %s", version)
    return Registered(version, known=False)


def _note(workspace: Workspace, version: Version, before: dict[str, int | None]) -> None:
    """The alias that a new version got, in the journal."""
    store, parent = workspace.store, version.tags.get("recalibrated", "")
    for alias in version.aliases:
        note_outside(store, version.name, alias, before[alias])
        why = f"recalibrated version {parent}" if parent else "trained"
        store.aliases.record(
            version.name, alias, expected_from=before[alias], to=version.version, who=getpass.getuser(), why=why
        )


def clear_drafts(pipeline: str | Path) -> None:
    """Remove what training left behind; everything that counts is in the registry."""
    shutil.rmtree(Workspace.open(pipeline).folder / "work", ignore_errors=True)


def _params(detector: Detector) -> dict[str, object]:
    facts = detector.provenance
    assert detector.calibration is not None
    return {
        **facts["model"],
        "features": ", ".join(detector.encoder.feature_names),
        "since": facts["split"]["since"],
        "until": facts["split"]["until"],
        "policy": detector.policy.words,
        "calibrated_per": ", ".join(detector.calibration.cells.by) or "all",
        **({"calibrated_on": " to ".join(dates)} if (dates := detector.calibration.dates) else {}),
        "score": detector.score_name,
        **({"tail": _tails(detector.calibration)} if detector.calibration.tails else {}),
        **{f"records_{part}": count for part, count in facts["records"].items()},
    }


def _tails(calibration: Calibration) -> dict[str, str]:
    return {name: tail.words for name, tail in zip(calibration.cells.names, calibration.tails, strict=True)}


def _metrics(detector: Detector) -> dict[str, float]:
    calibration, holdout = detector.calibration, detector.provenance["holdout"]
    assert calibration is not None
    metrics = {
        "best_validation_nll": detector.provenance["validation_nll"],
        "calibration_size": float(calibration.size),
        "threshold": float(calibration.threshold),
        "holdout_log_likelihood": detector.provenance["holdout_log_likelihood"],
    }
    tails = calibration.tails
    if tails:
        # Of several cells the one that fits worst; all are among the parameters.
        worst = min(tails, key=lambda tail: tail.goodness_of_fit)
        metrics |= {f"tail_{name}": float(value) for name, value in worst.to_dict().items()}
    if holdout:
        metrics |= {f"holdout_{name}": float(holdout[name]) for name in ("asked", "observed", "standard_error")}
    return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}
