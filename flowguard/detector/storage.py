"""A detector, with its folds where it has some, to a sealed folder and back."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from flowguard import __version__
from flowguard.calibration import Calibration
from flowguard.density import RecordDensity
from flowguard.detector import bundle
from flowguard.detector.cross import Folds
from flowguard.detector.detector import Detector, Engine
from flowguard.detector.watch import Watched
from flowguard.encoding import Encoder
from flowguard.errors import BundleError
from flowguard.explain import Baseline
from flowguard.explain.expected import Expected

PINNED = ("torch", "numpy", "scipy", "pandas", "pyarrow", "safetensors")


FOLDS = "folds"
"""The document that a bundle with folds has, and what the names of their files begin with."""

Whole = tuple[dict[str, Any], dict[str, bundle.Arrays]]
"""Documents and arrays by their names."""


def save(detector: Detector, folder: str | Path, *, folds: Folds | None = None) -> str:
    """Seal `detector` in `folder` and return the bundle's digest; the same detector gives the same bytes.

    The weights are stored as they were trained (float32); scoring widens them, which loses nothing. The files of the
    detectors of `folds` stand beside those of `detector`.
    """
    documents, arrays = _contents(detector)
    if folds is not None:
        documents[FOLDS] = {"count": len(folds.detectors), "level": folds.level}
        for place, one in enumerate(folds.detectors):
            for whole, part in zip((documents, arrays), _contents(one), strict=True):
                whole.update({f"{FOLDS}.{place}.{name}": value for name, value in part.items()})
    return bundle.seal(
        Path(folder),
        documents=documents,
        arrays=arrays,
        facts={
            "flowguard": __version__,
            "measure_id": detector.measure_id,
            "engine": {
                "tile": detector.engine.tile,
                "threads": detector.engine.threads,
                "dtype": detector.engine.dtype,
                "device": "cpu",
                "machine": platform.machine(),
                "instructions": torch.backends.cpu.get_cpu_capability(),
                "versions": {name: _version(name) for name in PINNED},
            },
        },
    )


def load(folder: str | Path) -> Detector:
    """The detector sealed in `folder`, every byte checked first; raises `BundleError` when anything differs.

    Of a bundle with folds it is the main detector, which has no calibration by itself.
    """
    return load_folds(folder)[0]


def load_folds(folder: str | Path) -> tuple[Detector, Folds | None]:
    """As `load`, with the folds that were sealed with the detector, None where there are none."""
    manifest, documents, arrays, digest = bundle.unseal(Path(folder))
    engine = manifest.get("engine", {})
    try:
        detector = replace(_detector(engine, documents, arrays), digest=digest)
        if FOLDS not in documents:
            return detector, None
        parts = []
        for place in range(documents[FOLDS]["count"]):
            mine = (_beginning(f"{FOLDS}.{place}.", whole) for whole in (documents, arrays))
            parts.append(replace(_detector(engine, *mine), digest=digest))
        return detector, Folds(tuple(parts), documents[FOLDS]["level"])
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise BundleError(
            f"{folder} is sealed but does not hold what this flowguard ({__version__}) expects: {error}. "
            f"It was sealed by flowguard {manifest.get('flowguard')}: install that release, or train a new version."
        ) from error


def _contents(detector: Detector) -> Whole:
    weights = {name: value.detach().cpu() for name, value in detector.density.state_dict().items()}
    floats = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
    documents: dict[str, Any] = {
        "encoder": detector.encoder.to_dict(),
        "density": detector.density.config,
        "schema": {
            "columns": dict(detector.columns),
            "order": list(detector.columns),
            "key": list(detector.key),
            "redact": list(detector.redact),
            "units": dict(detector.units),
        },
        "provenance": dict(detector.provenance),
        "training": [dict(epoch) for epoch in detector.history],
    }
    arrays: dict[str, bundle.Arrays] = {"weights": {name: value.numpy() for name, value in floats.items()}}
    # Families without exact terms by column have a calibration but no baseline.
    for name, part in (("calibration", detector.calibration), ("baseline", detector.baseline)):
        if part is not None:
            documents[name], arrays[name] = part.to_state()
    if detector.expected is not None or detector.held is not None:
        documents["expected"], arrays["expected"] = detector.usual.to_state()
    if detector.watched is not None:
        documents["drift"] = detector.watched.to_dict()
    return documents, arrays


def _detector(engine: Mapping[str, Any], documents: Mapping[str, Any], arrays: Mapping[str, bundle.Arrays]) -> Detector:
    density = RecordDensity.build(documents["density"])
    weights = {name: torch.from_numpy(value.copy()) for name, value in arrays["weights"].items()}
    density.load_state_dict(weights)
    dtype = getattr(torch, engine["dtype"])
    schema = documents["schema"]
    return Detector(
        encoder=Encoder.from_dict(documents["encoder"]),
        density=density.to(dtype).eval(),
        columns={name: schema["columns"][name] for name in schema["order"]},
        key=schema["key"],
        redact=schema["redact"],
        units=schema["units"],
        engine=Engine(**{name: engine[name] for name in ("tile", "threads", "dtype")}),
        calibration=(
            Calibration.from_state(documents["calibration"], arrays["calibration"])
            if "calibration" in documents
            else None
        ),
        baseline=Baseline.from_state(documents["baseline"], arrays["baseline"]) if "baseline" in documents else None,
        # Sealed since reasons are told by contrasts; before, ranges were not corrected.
        expected=Expected.from_state(documents["expected"], arrays["expected"]) if "expected" in documents else None,
        watched=Watched.from_dict(documents["drift"]) if "drift" in documents else None,
        provenance=documents["provenance"],
        history=documents["training"],
    )


def _beginning(prefix: str, named: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
